"""What a worker found out about a model, and leaves for all others; used by all processes, knows
neither HTTP nor torch."""

from pydantic import BaseModel, ConfigDict

from darkroom.curves import Cost


class RefusedUpload(BaseModel):
    """Why a LoRA that a client uploaded cannot be used."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: str
    """What tells the file from one that takes its place."""
    reason: str
    """What is wrong with it, for this model."""


class ModelRecord(BaseModel):
    """What a worker found when it loaded a model, or why it could not."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """The model, by its name in models.toml."""
    tasks: tuple[str, ...] = ()
    """What it can do."""
    schedulers: tuple[str, ...] = ()
    """Noise schedulers that work with it, by diffusers class name."""
    scheduler: str | None = None
    """The model's own noise scheduler."""
    sigmas: str | None = None
    """The kind of sigmas that its configuration asks for; null: as they are."""
    timestep_spacing: str | None = None
    """How its configuration spaces timesteps; null if its class has no such option."""
    width: int | None = None
    """Its usual size, in pixels."""
    height: int | None = None
    """Its usual size, in pixels."""
    size_multiple: int | None = None
    """Both sides of its pictures must be multiples of this, whatever the card allows."""
    latent_channels: int | None = None
    """Of its VAE's latents; null if it has no VAE that tells."""
    preview: tuple[tuple[float, ...], ...] = ()
    """How its latents become the colours of an early picture: for red, green and blue, 0 to 1, a
    factor for each channel and a constant; empty: it shows none."""
    loras: tuple[str, ...] = ()
    """Names of the LoRAs that can be used."""
    controlnets: tuple[str, ...] = ()
    """Names of the ControlNets that can be used."""
    embeddings: tuple[str, ...] = ()
    """Words that textual inversions added."""
    reference: bool = False
    """Whether it takes reference images."""
    classes: int | None = None
    """How many classes it knows, where it makes pictures of classes."""
    faults: dict[str, str] = {}
    """What of the card cannot be used, such as `lora:name`, and why; `files`: what a library had to
    say of the model's weights when it loaded them."""
    safety: str | None = None
    """The checker at work; null if none is."""
    pipeline: str | None = None
    """The diffusers class."""
    dtype: str | None = None
    """The numbers that its weights are kept in."""
    device: str | None = None
    """Where it was loaded."""
    source: str | None = None
    """The folder or repository that was loaded."""
    revision: str | None = None
    """Which commit of its repository."""
    config: str | None = None
    """What said what a single file leaves out, where the card named it."""
    transformer: str | None = None
    """The file of its network, where the card named one."""
    vae: str | None = None
    """Its VAE, where the card named one."""
    parameters: int | None = None
    """How many weights it has."""
    load_s: float | None = None
    """Seconds that loading it took, with the picture that warms it up and what was compiled."""
    compile_s: float | None = None
    """Seconds of these that torch compiled for; null if the model is not compiled."""
    load_pauses_others: bool = True
    """Whether other jobs of its worker stand still while it is loaded or compiled, as they always
    do in this version."""
    step_s: float | None = None
    """Seconds of a denoising step of one picture of its usual size, without guidance, as measured
    lately."""
    costs: tuple[Cost, ...] = ()
    """What its passes took, as measured lately."""
    refused_uploads: dict[str, RefusedUpload] = {}
    """Of the LoRAs that clients uploaded those that cannot be used, by name."""
    error: str | None = None
    """Why it could not be loaded; null if it could."""
    worker: str | None = None
    """Who loaded it."""
    updated_at: str | None = None
    """When this was written."""
