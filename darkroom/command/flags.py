"""Settings as options of the command line: one option per setting, its help from the setting."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperCommand

from darkroom.command.terminal import err
from darkroom.field_errors import field_errors
from darkroom.settings import Settings, mistyped

EVERYWHERE = (
    "redis_url",
    "state_dir",
    "store",
    "store_shared",
    "models",
    "lora_uploads",
    "lora_dir",
    "lease_s",
    "max_attempts",
    "log_format",
    "log_level",
)
OUTBOUND = ("webhooks", "outbound_networks", "outbound_hosts", "outbound_http")
KEPT = (
    "retention_s",
    "canceled_retention_s",
    "file_retention_s",
    "max_kept_jobs",
    "max_kept_mb",
)
API = (
    "host",
    "port",
    "keys",
    "published",
    "open_metrics",
    "max_body_mb",
    "max_json_kb",
    "max_bodies_mb",
    "header_timeout_s",
    "body_timeout_s",
    "send_timeout_s",
    "max_connections",
    "max_connections_per_address",
    "max_waiting",
    "max_waiting_per_address",
    "trusted_proxies",
    "allowed_hosts",
    "cors_origins",
    "prompt_loras",
    "max_lora_mb",
    "max_loras",
    "max_image_pixels",
    "max_opened_pixels",
    "decoders",
    "image_urls",
    "max_files_mb",
    "max_queued",
    *OUTBOUND,
    *KEPT,
)
WORKER = (
    "device",
    "max_jobs",
    "model_memory_gb",
    "prefer_loaded_s",
    "previews",
    "worker_name",
    "worker_models",
    "torch_threads",
    "metadata",
    *KEPT,
    "step_timeout_s",
    "load_timeout_s",
    "grace_s",
)
KEEPER = ("keeper_interval_s", *OUTBOUND, *KEPT)


GROUPS = {
    "Settings of all processes": EVERYWHERE,
    "What is kept": KEPT,
    "The API: where it listens and who may ask": (
        "host",
        "port",
        "keys",
        "published",
        "open_metrics",
        "allowed_hosts",
        "cors_origins",
        "trusted_proxies",
    ),
    "URLs of clients": OUTBOUND,
    "The API: its limits": API,
    "Workers": WORKER,
    "The keeper": KEEPER,
}
"""Titles in the help; a setting stands under the first that has it."""


class GroupedCommand(TyperCommand):
    """A command whose help has a title for each group of options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                title = getattr(parameter, "rich_help_panel", None) or "Options"
                groups.setdefault(title, []).append(record)
        for title in ["Options", *(each for each in GROUPS if each in groups)]:
            with formatter.section(title):
                formatter.write_dl(groups[title])
        formatter.write_paragraph()
        formatter.write_text("Each setting is also read from DARKROOM_... and from .env.")


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each named setting and hand it the settings that result:
    options go before the environment, that before `.env`."""
    names = tuple(dict.fromkeys(names))

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            flags = {name: values.pop(name) for name in names}
            settings = read_settings(**flags)
            if set(EVERYWHERE) <= set(names):  # others read a few, and are called in scripts
                for said in mistyped():
                    typer.echo(f"Warning: {said}", err=True)
            command(settings=settings, **values)

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.name != "settings"]
        parameters += [_option(name) for name in names]
        signature = inspect.Signature(parameters)
        run.__signature__ = signature  # type: ignore[attr-defined]  # what typer looks at
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return wrap


def read_settings(**flags: Any) -> Settings:
    """Settings with `flags` on top; a wrong value ends the program with a sentence, status 2."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        for fault in field_errors(error, Settings):
            name = fault.pointer.split("/")[1]
            where = f"--{name.replace('_', '-')}" if name in given else f"DARKROOM_{name.upper()}"
            typer.echo(f"Error: {where}: {fault.detail}", err=True)
        raise typer.Exit(2) from None


def with_redis(settings: Settings) -> Settings:
    """With the Redis that is named or, if none is, that of the `darkroom up` which runs with the
    same state directory."""
    from darkroom.command.valkey import embedded_url

    url = settings.redis_url or embedded_url(settings.state_dir)
    if url:
        return settings.model_copy(update={"redis_url": url})
    err.print(
        "Error: no Redis is named (--redis-url, DARKROOM_REDIS_URL), and no `darkroom up`, which "
        f"starts everything on one machine, runs with the state directory {settings.state_dir}."
    )
    raise typer.Exit(2)


def _option(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    kind: Any = field.annotation
    kind = kind if type(None) in _arms(kind) else kind | None
    default = "" if field.default is None or field.default == "" else f" [default: {field.default}]"
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{' '.join((field.description or '').split())}{default}",
        show_default=False,
        rich_help_panel=_group(name),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def _group(name: str) -> str:
    return next(title for title, names in GROUPS.items() if name in names)


def _arms(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__args__", ())
