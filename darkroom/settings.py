"""Settings of every process, from flags, the environment (`DARKROOM_...`) and `.env`.

Built once by an entry point and handed on; importing this module reads nothing.
"""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from darkroom.errors import DarkroomError
from darkroom.lora_folder import LoraFolder
from darkroom.ports import is_loopback
from darkroom.request import MetadataLevel


class SettingsError(DarkroomError):
    """The settings cannot be used; the message says what to do."""

    code = "settings"


def _address_of_redis(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("redis", "rediss") and parts.port != 0
        known |= parts.scheme == "unix" and parts.path.startswith("/")
    except ValueError:  # the port is none
        known = False
    if not known:
        raise PydanticCustomError(
            "malformed", "Must be redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH."
        )
    return url


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", name):
        raise PydanticCustomError("malformed", "Must be auto, cpu, cuda or, of several, cuda:N.")
    return name


ENV_FILE = ".env"
PREFIX = "DARKROOM_"
NO_SETTINGS = frozenset(
    f"{PREFIX}{name}" for name in ("URL", "KEY", "BIND", "QUEUE_PASSWORD", "WORKER_MEMORY")
)
"""What clients and docker-compose.yml read that is called as settings are."""


class Settings(BaseSettings):
    """Each field is also an environment variable: `lease_s` is `DARKROOM_LEASE_S`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,  # as compose files and .env leave out what they name
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    redis_url: Annotated[str | None, AfterValidator(_address_of_redis)] = None
    """A Redis (6.2 or later) or Valkey to use: `redis://`, `rediss://` or `unix://`.
    Left out, `darkroom up` starts an embedded Valkey in the state directory."""
    state_dir: Path = Path(".darkroom")
    """Where the embedded Valkey's file, images and logs lie."""
    store: Path | None = None
    """Folder of the images; default: `images` in the state directory. All processes need it."""
    store_shared: bool = False
    """Whether the group of that folder may read and write in it; else its owner alone."""
    models: Path = Path("models.toml")
    """The file that lists the models on offer."""

    host: str = "127.0.0.1"
    """Address the API listens on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port the API listens on; 0 takes a free one."""
    keys: Literal["auto", "on", "off"] = "auto"
    """Whether clients need an API key (`darkroom keys`). auto: unless the API listens on loopback,
    where nobody else reaches it."""
    published: str = ""
    """Address under which a container's port is published, where auto looks instead."""
    open_metrics: bool = False
    """Let `/metrics` be read without a key."""
    allowed_hosts: str = ""
    """Names under which clients may reach the API, with commas, beside those of this machine;
    `*.example` is all below. Empty: any name, but while it listens on loopback no other (421)."""
    cors_origins: str = ""
    """Origins of web pages of other sites that may use the API, with commas, like
    `https://app.example`; `*`: of any site. Empty: of none."""
    max_body_mb: float = Field(32, gt=0)
    """Largest request body, in MiB; larger ones are refused (413) without being read."""
    max_json_kb: float = Field(256, gt=0)
    """What a request body may hold besides its pictures, in KiB; more is refused (413)."""
    max_bodies_mb: float = Field(512, gt=0)
    """MiB that the bodies of all requests under way may take together; more are refused (503)."""
    header_timeout_s: float = Field(10, gt=0)
    """Seconds that a client has for the head of a request, once it has connected or begun."""
    body_timeout_s: float = Field(30, gt=0)
    """Seconds that a client may let the service wait for a body, and one more for each 16 KiB of
    it; a slower one is refused (408)."""
    send_timeout_s: float = Field(30, gt=0)
    """Seconds within which a client has to take the next 32 KiB of an answer; a slower one is cut
    off."""
    max_connections: int = Field(4096, ge=1)
    """Connections in all, and no more than the process may have open files, less 512."""
    max_connections_per_address: int = Field(1024, ge=1)
    """Connections of one address, or one /64 of IPv6; this machine and trusted proxies excepted."""
    max_waiting: int = Field(2048, ge=1)
    """Event streams and requests that wait for a job, in all; more are refused (503)."""
    max_waiting_per_address: int = Field(512, ge=1)
    """The same for one key or, without one, for one address (429); this machine and trusted proxies
    excepted."""
    trusted_proxies: str = ""
    """Addresses and networks of proxies, with commas, whose `X-Forwarded-For` and
    `X-Forwarded-Proto` are believed."""
    max_image_pixels: int = Field(16_000_000, ge=64)
    """Largest input image that is kept, width times height; larger ones are shrunk to it."""
    max_opened_pixels: int = Field(100_000_000, ge=64, le=1_000_000_000)
    """Largest input image that is opened; larger ones are refused (422). A decoder may take
    half a GiB of memory and 10 bytes for each of these pixels."""
    decoders: int = Field(2, ge=1, le=64)
    """Processes of the API that decode input images, one at a time each; started when needed."""
    prompt_loras: bool = True
    """Let `<lora:name:0.8>` in a prompt ask for a LoRA of the model; off: it is read as words."""
    lora_uploads: bool = False
    """Let clients upload LoRAs for a model, which all who reach the API may then use or delete.
    The API and the workers need it."""
    lora_dir: Path | None = None
    """Folder of the uploaded LoRAs; default: `loras` in the state directory. Likewise."""
    max_lora_mb: float = Field(2048, gt=0)
    """Largest LoRA that may be uploaded, in MiB; larger ones are refused (413)."""
    max_loras: int = Field(100, ge=1)
    """How many LoRAs may be uploaded for each model; more are refused (422)."""
    image_urls: bool = False
    """Let requests name input images by https URLs, which the service then fetches."""
    webhooks: bool = False
    """Let requests name https URLs that are told of their jobs. The API and the keeper need it."""
    outbound_networks: str = ""
    """Networks, with commas, where the URLs of clients may lead beside the public internet, like
    `10.1.0.0/16`; there on any port, and in plain http."""
    outbound_hosts: str = ""
    """Hosts that the URLs of clients may name, with commas; `*.example`: all below. Empty: any."""
    outbound_http: bool = False
    """Let the URLs of clients be plain http in the public internet too."""
    max_queued: int = Field(1000, ge=1)
    """Jobs that may wait in all queues together; more are refused (429)."""
    retention_s: float = Field(7 * 86400, ge=1)
    """Seconds that a finished job and its images are kept; after that they are gone (410)."""
    canceled_retention_s: float = Field(86400, ge=1)
    """Seconds that a canceled job is kept, which has no images; never longer than the others."""
    file_retention_s: float = Field(30 * 86400, ge=1)
    """Seconds that a file is kept that a client uploaded and did not upload again; jobs keep what
    they use for as long as they are kept."""
    max_files_mb: float = Field(1024, gt=0)
    """MiB that the files of one API key may take together, or all of them where no keys are asked
    for; more are refused (409)."""
    max_kept_jobs: int = Field(100_000, ge=1)
    """Ended jobs that are kept at most; beyond, those go first whose time would end first."""
    max_kept_mb: float = Field(512, gt=0)
    """MiB of Redis's memory that they may take together, likewise; their images are files."""

    device: Annotated[str, AfterValidator(_device)] = "auto"
    """Where a worker runs its models: auto, cpu, cuda, cuda:1."""
    max_jobs: int = Field(8, ge=1)
    """How many jobs may share one pass of a model; a model's card can lower it."""
    model_memory_gb: float = Field(0, ge=0)
    """GiB that the weights of a worker's models may take together; idle ones leave memory to make
    room. 0: no limit on a CPU, on CUDA what the device has free."""
    prefer_loaded_s: float = Field(30, ge=0)
    """Seconds that a job of a model that is not in memory lets jobs of loaded ones go first."""
    previews: Literal["off", "asked", "all"] = "asked"
    """Of which jobs a worker shows early pictures: asked: those that ask for it; all: those that do
    not decline it; off: none."""
    worker_name: str | None = None
    """Default: host name and process id."""
    worker_models: str = ""
    """Names of the models that this worker serves, with commas; empty: all of models.toml."""
    metadata: MetadataLevel = "full"
    """The most that may be written into pictures: full holds the prompt and the whole request,
    minimal software, model, seed and that a model made it. A request can ask for less."""
    torch_threads: int | None = Field(None, ge=1)
    """CPU threads of a worker's engine; default: torch's own choice."""
    lease_s: float = Field(15, ge=1)
    """Seconds that a claim lasts without a sign of life; a lost machine's jobs are queued again
    within two leases."""
    max_attempts: int = Field(5, ge=1)
    """With how many engines, which died at work on it, a job fails as `poison`."""
    step_timeout_s: float = Field(120, gt=0)
    """Seconds one call of a model may take; after that the engine is killed and restarted."""
    load_timeout_s: float = Field(900, gt=0)
    """Seconds that loading a model may take, and a call that compiles one."""
    grace_s: float = Field(30, ge=0)
    """Seconds that running jobs get to finish after SIGTERM; then they go back to the queue."""
    keeper_interval_s: float = Field(1, gt=0)
    """Seconds between two rounds of the keeper; it looks at leases eight times in one at least."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON lines elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least of what is logged."""

    @property
    def store_dir(self) -> Path:
        return self.store or self.state_dir / "images"

    @property
    def uploads(self) -> LoraFolder | None:
        """Where uploaded LoRAs lie; None where nobody may upload any."""
        return LoraFolder(self.lora_dir or self.state_dir / "loras") if self.lora_uploads else None

    @property
    def is_private(self) -> bool:
        """Whether the API is reached from this machine alone."""
        return is_loopback((self.published or self.host).lower())

    @property
    def asks_for_keys(self) -> bool:
        """Whether clients of the API need a key."""
        return not self.is_private if self.keys == "auto" else self.keys == "on"

    @property
    def serves(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.worker_models.split(",") if name.strip())

    def environment(self) -> dict[str, str]:
        """The settings as a child process will read them, whatever source they came from here."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"DARKROOM_{name.upper()}": str(value) for name, value in values.items()}

    def environment_of_models(self) -> dict[str, str]:
        """All of the environment of a process that loads models. They come from the network by
        `darkroom models pull` alone. Shards of a part are read side by side, which takes no more of
        memory that cannot be given back (`benchmarks/sharded.py`), unless the user says otherwise.
        """
        mine = {"HF_ENABLE_PARALLEL_LOADING": "1"}
        return mine | os.environ | self.environment() | {"HF_HUB_OFFLINE": "1"}


def mistyped() -> Iterator[str]:
    """A sentence for each variable, of the environment and of `.env`, that is called as a setting
    is and is none: nothing reads it."""
    known = sorted(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)
    given = {
        name.upper(): value for name, value in {**dotenv_values(ENV_FILE), **os.environ}.items()
    }
    for name in sorted(given.keys() - NO_SETTINGS - set(known)):
        if name.startswith(PREFIX) and given[name]:
            near = difflib.get_close_matches(name, known, 1, 0.8)
            hint = f" Did you mean {near[0]}?" if near else ""
            yield f"{name} is no setting and is ignored.{hint}"
