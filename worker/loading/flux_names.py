"""The names of Flux's layers in the code that it was published with, which most trainers of its
LoRAs use; used by layer_names.py, opens no files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_DOUBLE = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
}
_SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}
_OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}
"""As github.com/black-forest-labs/flux has them, `src/flux/modules/layers.py` and `model.py`, and
what is the same in diffusers, in the order of the rows. Left out is the last modulation, whose
halves diffusers has the other way round."""

_BLOCK = re.compile(r"(?P<kind>transformer_blocks|single_transformer_blocks)\.(?P<at>\d+)\.")


def flux_names(layers: Collection[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each published name with those that the same rows have among `layers`; none of a network of
    another kind."""
    blocks = {match.group() for name in layers if (match := _BLOCK.match(name))}
    if not any(block.startswith("single") for block in blocks):
        return
    for block in sorted(blocks):
        match = _BLOCK.fullmatch(block)
        assert match is not None, "that is how they were found"
        is_single = match["kind"].startswith("single")
        kind, table = ("single_blocks", _SINGLE) if is_single else ("double_blocks", _DOUBLE)
        for name, others in table.items():
            named = tuple(block + other for other in others)
            if all(each in layers for each in named):
                yield f"{kind}.{match['at']}.{name}", named
    yield from ((name, (other,)) for name, other in _OUTSIDE.items() if other in layers)
