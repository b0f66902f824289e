"""The networks that pipelines call at each step, by the names they give them, and how each is
treated; used by all processes, knows no torch."""

from dataclasses import dataclass
from typing import Any, Literal

Stage = Literal["encode", "denoise", "decode"]


@dataclass(frozen=True)
class Network:
    """How a network is treated. What holds for most is the default."""

    stage: Stage = "denoise"
    """What a job does while it calls the network."""
    offload_group: str | None = "step"
    """Parts of one group take turns at every step, and so stay on the device together."""
    is_main: bool = True
    """Whether it makes the prediction, so that a model has one of these: its `sample_size` is the
    model's, it is what cards compile and tune, and adapters have to fit it."""
    reads_joined_clip: bool = False
    """Whether it reads prompts as the joined embeddings of all CLIP text encoders: then prompts
    can have weights and any length."""


NETWORKS: dict[str, Network] = {
    "unet": Network(reads_joined_clip=True),
    "transformer": Network(),
    "controlnet": Network(is_main=False),
}
"""A row for each name that a network has in pipelines. The first main one that a pipeline has is
its network."""

AUTOENCODERS = ("vae", "vqvae")
"""What latents are decoded by."""


def main_names() -> tuple[str, ...]:
    """The names that the network of a pipeline can have."""
    return tuple(name for name, network in NETWORKS.items() if network.is_main)


def network_of(pipeline: object) -> Any:
    """The network of a pipeline; None if it has none by a name of the table."""
    parts = (getattr(pipeline, name, None) for name in main_names())
    return next((part for part in parts if part is not None), None)


def stage_of(called: str) -> Stage | None:
    """The stage that a job enters with a call of `called`, such as `unet` or `vae.decode`; None:
    it stays in the one it is in."""
    if called in [f"{name}.decode" for name in AUTOENCODERS]:
        return "decode"
    return NETWORKS[called].stage if called in NETWORKS else None


def take_turns(part: str, other: str) -> bool:
    """Whether two parts of a model are called in turns at every step."""
    if part not in NETWORKS or other not in NETWORKS:
        return False
    group = NETWORKS[part].offload_group
    return group is not None and group == NETWORKS[other].offload_group
