"""One model's card: what an operator says of it in models.toml; used by all processes, knows no
other model and no file."""

import itertools
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from darkroom.cards import (
    Card,
    ControlNetCard,
    Defaults,
    EmbeddingCard,
    IPAdapterCard,
    Limits,
    LoraCard,
    Name,
    SafetyCard,
    Scheduler,
    Source,
    StyleCard,
    named_once,
)
from darkroom.families import diffusers_table
from darkroom.quality import Quality
from darkroom.schedulers import SchedulerOptions


class ModelCard(Card):
    """One entry of models.toml."""

    name: Name
    """What clients name it by; also the name of its queues."""
    aliases: tuple[str, ...] = ()
    """Other names that clients may use."""
    source: Source
    """A folder as diffusers writes it or a checkpoint in a single safetensors file, relative to
    models.toml, or a Hugging Face repository id."""
    config: str | None = None
    """For a single file of a family that is not known: a folder or repository of the same family,
    which says what the file leaves out."""
    transformer: str | None = None
    """A safetensors file with another network (transformer or UNet) for the folder of `source`."""
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    """What the network was trained to predict; null: what the files say."""
    revision: str | None = None
    """A commit of the repository; pin it."""
    variant: str | None = None
    """Such as fp16: which of the repository's weight files to read."""
    dtype: Literal["auto", "float32", "float16", "bfloat16", "float64"] = "auto"
    """auto: bfloat16 on CUDA, float32 on CPU."""
    scheduler: Scheduler | None = None
    """The noise scheduler to use by default, by its diffusers class name or a usual short name;
    null: the model's own."""
    scheduler_options: SchedulerOptions = SchedulerOptions()
    """Of that scheduler, for requests that name none."""
    tasks: tuple[str, ...] = ()
    """Which tasks to offer; empty: all that the model can do."""
    licence: str | None = None
    """Shown to clients with the model."""
    vocabulary: str | None = None
    """A file of what the model can draw, relative to models.toml: a thing a line, its other names
    behind bars, lines of words that go with things behind +. Clients see it, and are told of
    prompts beyond it; for models that were taught little."""
    examples: tuple[str, ...] = ()
    """Prompts that the model draws well, shown to clients."""
    defaults: Defaults = Defaults()
    """What is taken for fields that a client leaves out, where it is not the model's own."""
    limits: Limits = Limits()
    """Bounds of what a client may ask."""
    quality: Quality = Quality()
    """Denoising steps of the qualities that clients of the OpenAI API ask for."""
    max_jobs: int | None = Field(None, ge=1)
    """How many jobs may share a pass; null: the worker's setting."""
    loras: Annotated[tuple[LoraCard, ...], AfterValidator(named_once)] = ()
    """LoRAs that requests may name."""
    controlnets: Annotated[tuple[ControlNetCard, ...], AfterValidator(named_once)] = ()
    """ControlNets that requests may name."""
    embeddings: tuple[EmbeddingCard, ...] = ()
    """Textual inversions: words of their own in prompts."""
    styles: Annotated[tuple[StyleCard, ...], AfterValidator(named_once)] = ()
    """Styles of this model alone, which go before those of all models with the same names."""
    ip_adapter: IPAdapterCard | None = None
    """An IP-Adapter, for `reference_images`."""
    vae: str | None = None
    """A VAE in place of the model's own: a folder or a safetensors file, relative to models.toml,
    or a repository id."""
    text_encoders: bool = True
    """false leaves out text encoders that the model can do without (SD 3's T5)."""
    offload: Literal["none", "model"] = "none"
    """model: each part is on the device only while it works; slower, one job at a time."""
    compile: bool = False
    """Compile the denoising network with torch.compile: a slow start, faster steps."""
    attention: str | None = None
    """diffusers' attention backend; null: torch's own."""
    vae_slicing: bool = False
    """Decode pictures one by one."""
    vae_tiling: bool = False
    """Decode pictures in tiles: far less memory, faint seams."""
    warmup: bool = False
    """Make a picture at load, so that the first job finds everything ready."""
    pinned: bool = False
    """Never leaves memory once it is loaded."""
    safety: SafetyCard | None = None
    """Withhold pictures that a checker finds; null: nothing is checked."""

    @model_validator(mode="after")
    def _options_are_of_its_scheduler(self) -> Self:
        able = diffusers_table()["scheduler_options"].get(self.scheduler, ())
        for name, value in self.scheduler_options.model_dump(exclude_none=True).items():
            if (value if name == "sigmas" else name) not in able:
                said = f"The scheduler {self.scheduler or 'that it leaves out'} has no {name}."
                raise PydanticCustomError("unsupported_field", said)
        return self

    @model_validator(mode="after")
    def _agrees_with_its_limits(self) -> Self:
        limits = self.limits
        most = (
            ("num_inference_steps", limits.max_steps),
            ("guidance_scale", limits.max_guidance_scale),
        )
        for lora, (name, limit) in itertools.product(self.loras, most):
            if (getattr(lora.defaults, name) or 0) > limit:
                said = f"The {name} of its LoRA {lora.name!r} is beyond its limits: {limit:g}."
                raise PydanticCustomError("out_of_range", said)
        return self
