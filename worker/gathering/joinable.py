"""The networks whose calls can be joined, and how; used by the worker's gather, knows them by name.

Joining is opt-in: a class is listed only when the equality test has proved it. Everything else
still parks, and runs as a group of one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

TEXT_LENGTHS = (32, 64, 128, 256, 512, 1024)
"""What texts are padded to, in tokens, where a network takes padding; longer ones stay as they are.
Few, so that most prompts have company, and above the first at most twice what a text needs."""


@dataclass(frozen=True)
class Rows:
    """The arguments of a module's forward that carry rows; the first one tells how many. All
    others are shared: calls are joined only where they are equal."""

    arguments: tuple[str, ...]
    timestep: str | None = "timestep"
    """Given one float for each row, for networks that begin with making floats of them. None where
    the network reckons with what it is given: then it is one of `arguments`, and left as it is."""
    entries: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of an argument that is a mapping, those that carry rows; all, if it is not named here."""
    alike: frozenset[str] = frozenset()
    """Shared arguments of which a network wants equal ones for all rows, ids of positions and
    sizes: calls are joined where their values are equal. One of (tokens, axes) is handed on as it
    is, of one with rows, a tensor of three dimensions or a list, the first row."""
    lists: Mapping[str, int] = field(default_factory=dict)
    """Those of `arguments` that are lists with a tensor for each row, with the multiple to which
    the network pads their lengths. If the first of all is one, the result is one."""
    text: tuple[str, str] | None = None
    """Those of `arguments` that are a text and its mask and can be padded."""
    counted: frozenset[str] = frozenset()
    """Those of `arguments` that are masks by which the network cuts texts."""
    alone: frozenset[str] = frozenset()
    """Arguments with which nothing is joined, unless they are None."""
    returns_either: bool = False
    """Whether some pipelines of a family want a tuple (`return_dict=False`) and some a mapping, so
    that the network is asked for the mapping, of which a tuple can be made."""

    @property
    def carriers(self) -> tuple[str, ...]:
        """The names of the arguments to join, the timestep among them."""
        return self.arguments if self.timestep is None else (*self.arguments, self.timestep)

    @property
    def gives_list(self) -> bool:
        """Whether results are lists with a tensor for each row."""
        return self.arguments[0] in self.lists


JOINABLE: Mapping[str, Rows] = MappingProxyType(
    {
        "UNet2DConditionModel": Rows(
            (
                "sample",
                "encoder_hidden_states",
                "class_labels",
                "timestep_cond",
                "attention_mask",
                "encoder_attention_mask",
                "added_cond_kwargs",
                "cross_attention_kwargs",
                "down_block_additional_residuals",
                "mid_block_additional_residual",
            ),
            entries={"cross_attention_kwargs": frozenset({"gligen"})},
        ),
        "UNet2DModel": Rows(("sample", "class_labels")),
        "ControlNetModel": Rows(
            (
                "sample",
                "encoder_hidden_states",
                "controlnet_cond",
                "class_labels",
                "timestep_cond",
                "attention_mask",
                "added_cond_kwargs",
            )
        ),
        "SD3Transformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "pooled_projections",
                "block_controlnet_hidden_states",
            )
        ),
        "SD3ControlNetModel": Rows(
            ("hidden_states", "controlnet_cond", "encoder_hidden_states", "pooled_projections")
        ),
        "FluxTransformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "pooled_projections",
                "guidance",
                "controlnet_block_samples",
                "controlnet_single_block_samples",
            ),
            alike=frozenset({"img_ids", "txt_ids"}),
        ),
        "DiTTransformer2DModel": Rows(("hidden_states", "class_labels")),
        "QwenImageTransformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "encoder_hidden_states_mask",
                "controlnet_block_samples",
                "additional_t_cond",
            ),
            alike=frozenset({"img_shapes"}),
            text=("encoder_hidden_states", "encoder_hidden_states_mask"),
        ),
        # Captions are filled up to a multiple of 32 tokens, which the network attends to.
        "ZImageTransformer2DModel": Rows(
            ("x", "t", "cap_feats"),
            timestep=None,
            lists={"x": 1, "cap_feats": 32},
            returns_either=True,
        ),
        "Flux2Transformer2DModel": Rows(
            ("hidden_states", "encoder_hidden_states", "guidance"),
            alike=frozenset({"img_ids", "txt_ids"}),
            alone=frozenset({"kv_cache", "kv_cache_mode"}),
        ),
        "ChromaTransformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "attention_mask",
                "controlnet_block_samples",
                "controlnet_single_block_samples",
            ),
            alike=frozenset({"img_ids", "txt_ids"}),
        ),
        "SanaTransformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "encoder_attention_mask",
                "guidance",
                "controlnet_block_samples",
            )
        ),
        "PixArtTransformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "encoder_attention_mask",
                "added_cond_kwargs",
            )
        ),
        "Lumina2Transformer2DModel": Rows(
            ("hidden_states", "encoder_hidden_states", "encoder_attention_mask"),
            counted=frozenset({"encoder_attention_mask"}),
        ),
        "AuraFlowTransformer2DModel": Rows(("hidden_states", "encoder_hidden_states")),
        # It reckons in the dtype of its timesteps.
        "HunyuanImageTransformer2DModel": Rows(
            (
                "hidden_states",
                "timestep",
                "encoder_hidden_states",
                "encoder_attention_mask",
                "timestep_r",
                "encoder_hidden_states_2",
                "encoder_attention_mask_2",
                "guidance",
            ),
            timestep=None,
        ),
    }
)
