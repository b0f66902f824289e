"""What a safetensors file is for, by its header: kind, families of models, parts within; used by
all processes, knows neither torch nor diffusers.

Names of tensors are those of the published definitions: Stable Diffusion's of
CompVis/stable-diffusion, Stability-AI/stablediffusion and Stability-AI/generative-models (`ldm` and
`sgm` modules), open_clip, the others' of their authors' repositories; and those of diffusers.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from darkroom.file_kinds import (
    CHECKPOINT,
    CONTROLNET,
    EMBEDDING,
    IP_ADAPTER,
    LORA,
    TRANSFORMER,
    UNET,
    VAE,
    Kind,
    kind_of_tensors,
)
from darkroom.weight_headers import Header, Tensor

Prediction = Literal["epsilon", "v_prediction"]

NETWORK_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "net.", "transformer.", "unet.")
"""What programs write before the names of a network's tensors."""


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    kind: Kind
    families: tuple[str, ...]
    """Families that it may be for, the likeliest first; empty where nothing tells. Names are those
    of `UNETS` and `TRANSFORMERS`."""
    parts: Mapping[str, str]
    """Of a checkpoint: what the names of a part's tensors begin with, by the part's name in
    diffusers' pipelines."""
    prediction: Prediction | None
    """What the network was trained to predict, where the file says so."""
    has_zero_snr: bool
    """Whether the file says that its noise ends at a signal-to-noise ratio of zero."""
    text_width: int
    """How wide the text is that its UNet, ControlNet or change of one reads; 0: nothing tells."""
    dtype: str
    """In which most of its numbers are, by the names of safetensors; empty: it has none."""

    @property
    def family(self) -> str | None:
        """The likeliest family; None where nothing tells."""
        return self.families[0] if self.families else None

    @property
    def is_quantized(self) -> bool:
        """Whether its numbers are of eight bits or fewer, which is not read."""
        return self.dtype.startswith(("F8", "F6", "F4", "I8", "U8"))


PARTS = {
    "model.diffusion_model.": ("unet", "transformer"),
    "first_stage_model.": ("vae",),
    "vae.": ("vae",),
    "cond_stage_model.": ("text_encoder",),
    "conditioner.embedders.0.transformer.": ("text_encoder",),
    "conditioner.embedders.0.model.": ("text_encoder_2",),
    "conditioner.embedders.1.": ("text_encoder_2",),
    "text_encoders.clip_l.": ("text_encoder",),
    "text_encoders.clip_g.": ("text_encoder_2",),
    "text_encoders.t5xxl.": ("text_encoder_3", "text_encoder_2"),
}
"""Parts of a checkpoint by how the names of their tensors begin. Where there are two, the second is
that of Flux, or of a network that is no UNet."""

UNETS = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
"""Families with a UNet by the width of the text that its attention reads."""
_UNETS_BY_ENCODER = (
    ("conditioner.embedders.1.", "sdxl"),
    ("conditioner.embedders.0.model.", "sdxl-refiner"),
    ("cond_stage_model.model.", "sd2"),
    ("cond_stage_model.", "sd1"),
)
_EDM = ("edm_mean", "edm_vpred.")
"""Tensors beside SDXL networks of another noise (Playground 2.5, CosXL), by how they begin."""
_BY_CHANNELS = {9: "-inpaint", 8: "-edit", 7: "-upscale", 5: "-depth"}
"""What a UNet is made for by how many channels go into it, four of which are the latents."""

TRANSFORMERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("flux2", (r"^(double_stream_modulation_img|single_stream_modulation)\.lin",)),
    ("chroma", (r"^distilled_guidance_layer\.",)),
    ("flux-dev", (r"^double_blocks\.0\.img_attn\.qkv\.", r"^guidance_in\.")),
    ("flux-dev", (r"^single_transformer_blocks\.0\.proj_mlp\.", r"guidance_embedder\.")),
    ("flux-schnell", (r"^double_blocks\.0\.img_attn\.qkv\.",)),
    ("flux-schnell", (r"^single_transformer_blocks\.0\.proj_mlp\.",)),
    ("sd35-large", (r"^joint_blocks\.37\.",)),
    ("sd35-large", (r"^pos_embed\.proj\.", r"^transformer_blocks\.37\.attn\.add_q_proj\.")),
    ("sd35-medium", (r"^joint_blocks\.0\.x_block\.attn2\.",)),
    ("sd35-medium", (r"^pos_embed\.proj\.", r"^transformer_blocks\.0\.attn2\.")),
    ("sd3", (r"^joint_blocks\.0\.",)),
    ("sd3", (r"^pos_embed\.proj\.", r"^transformer_blocks\.0\.attn\.add_q_proj\.")),
    ("qwen-image", (r"^transformer_blocks\.0\.img_mod\.", r"^txt_norm\.")),
    (
        "z-image",
        (r"^(all_)?x_embedder\.", r"^cap_embedder\.", r"^layers\.0\.adaLN_modulation\.0\."),
    ),
    ("lumina2", (r"^cap_embedder\.", r"^layers\.0\.adaLN_modulation\.1\.")),
    ("lumina2", (r"^time_caption_embed\.", r"^layers\.0\.norm1\.linear\.")),
    ("auraflow", (r"^(double_layers\.0\.attn\.w1q|joint_transformer_blocks\.0)\.",)),
    ("sana", (r"^blocks\.0\.mlp\.inverted_conv\.",)),
    ("sana", (r"^transformer_blocks\.0\.ff\.conv_inverted\.",)),
    ("pixart", (r"^blocks\.0\.cross_attn\.q_linear\.", r"^y_embedder\.y_proj\.")),
    ("pixart", (r"^adaln_single\.", r"^caption_projection\.", r"^pos_embed\.proj\.")),
    ("hidream", (r"^double_stream_blocks\.0\.",)),
    ("hunyuan-dit", (r"^blocks\.0\.attn1\.Wqkv\.",)),
    ("krea2", (r"^txtfusion\.",)),
    ("cascade", (r"^(clip_txt_mapper|down_blocks\.1\.0\.channelwise\.0)\.",)),
    ("video", (r"^(patchify_proj|patch_embedding|head\.modulation|motion_modules)\b",)),
    ("video", (r"^txt_in\.individual_token_refiner\.",)),
)
"""Families with a transformer by what names of tensors look like; all must be found."""

_LORAS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"lora_te2_|text_encoder_2\.", ("sdxl",)),
    (r"single_stream_modulation|attn\.to_qkv_mlp_proj", ("flux2",)),
    (r"distilled_guidance_layer", ("chroma",)),
    (r"(double|single)_blocks[._]|single_transformer_blocks[._]", ("flux-dev", "flux-schnell")),
    (r"joint_blocks[._]", ("sd3", "sd35-medium", "sd35-large")),
    (r"transformer_blocks[._]\d+[._](img_mod|img_mlp|txt_mlp)", ("qwen-image",)),
    (r"(^|[._])layers[._]\d+[._](attention|feed_forward)[._]", ("z-image", "lumina2")),
)
"""Families of LoRAs that are for none of Stable Diffusion's UNets, and of those that name both of
SDXL's text encoders."""
_TEXT_LAYER = re.compile(
    r"(attn2[._](processor\.)?to_k(_lora)?\.(lora[._])?(down\.|A\.(\w+\.)?)?(weight|hada_w1_b)"
    r"|to_k_ip\.weight)$"
)
"""Layers of a UNet that read text, and the half of a change of one that is as wide as the text."""
_WRITTEN = (
    ("sdxl_refiner", "sdxl-refiner"),
    ("stable-diffusion-xl-v1-refiner", "sdxl-refiner"),
    ("stable-diffusion-xl", "sdxl"),
    ("sdxl", "sdxl"),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v2", "sd2"),
    ("stable-diffusion-v1", "sd1"),
    ("sd_v1", "sd1"),
    ("stable-diffusion-3.5-large", "sd35-large"),
    ("stable-diffusion-3.5-medium", "sd35-medium"),
    ("stable-diffusion-3", "sd3"),
    ("flux-1-schnell", "flux-schnell"),
    ("flux-1", "flux-dev"),
    ("flux1", "flux-dev"),
    ("flux-2", "flux2"),
    ("flux2", "flux2"),
    ("qwen", "qwen-image"),
    ("zimage", "z-image"),
    ("z-image", "z-image"),
    ("chroma", "chroma"),
    ("lumina", "lumina2"),
)
"""Families by how the metadata of a file begin that name its base, which kohya's scripts write as
`ss_base_model_version` and Stability's ModelSpec as `modelspec.architecture`."""
_BASE_KEYS = ("modelspec.architecture", "ss_base_model_version")

_EMBEDDING_WIDTHS = {768: ("sd1",), 1024: ("sd2",), 1280: ("sdxl",), 4096: ("flux-dev", "sd3")}
_VAES = {
    4: ("sd1", "sd2", "sdxl", "sdxl-refiner"),
    16: ("flux-dev", "flux-schnell", "sd3", "sd35-medium", "sd35-large", "chroma", "z-image"),
    32: ("flux2",),
}
"""Families by the channels of a VAE's latents."""


def contents_of(header: Header) -> Contents:
    """What a file with this header holds."""
    kind = kind_of_tensors(header)
    families = _families(kind.name, header)
    return Contents(
        kind=kind,
        families=tuple(dict.fromkeys(families)),
        parts=_parts(header, families) if kind.name == CHECKPOINT else {},
        prediction=_prediction(header),
        has_zero_snr="ztsnr" in header or header.metadata.get("ss_zero_terminal_snr") == "True",
        text_width=_text_width(header),
        dtype=_dtype(header.values()),
    )


def fits(families: Iterable[str], family: str | None) -> bool:
    """Whether an adapter that may be for `families` may be for models of a family, as far as that
    is known."""
    return family is not None and _group(family) in map(_group, families)


def _group(family: str) -> str:
    """What is equal for families whose adapters fit one another's models."""
    if family == "sdxl-refiner":
        return family
    return {"sd35": "sd3"}.get(begin := family.partition("-")[0], begin)


def _families(kind: str, header: Header) -> tuple[str, ...]:
    if kind in (CHECKPOINT, TRANSFORMER, UNET):
        return _of_network(header)
    if kind == CONTROLNET:
        return _of_controlnet(header)
    if kind == VAE:
        return _of_vae(header)
    if kind == EMBEDDING:
        return _of_embedding(header)
    if kind in (LORA, IP_ADAPTER):
        return _of_adapter(header)
    return ()


def _of_network(header: Header) -> tuple[str, ...]:
    tensors = _without_prefix(header, NETWORK_PREFIXES)
    names = "\n".join(tensors)
    for family, marks in TRANSFORMERS:
        if all(re.search(mark, names, re.MULTILINE) for mark in marks):
            return _versions(family, tensors)
    if any(name.startswith(_EDM) for name in header):
        return ("sdxl-edm",)
    into = tensors.get("input_blocks.0.0.weight", tensors.get("conv_in.weight"))
    base = UNETS.get(_text_width(tensors)) or next(
        (family for start, family in _UNETS_BY_ENCODER if _begins(header, start)), None
    )
    if into is None or base is None or len(into.shape) != 4:
        return ()
    return (base + _BY_CHANNELS.get(into.shape[1], ""),)


def _versions(family: str, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What a transformer's family is called by the sizes of its layers."""
    into = tensors.get("img_in.weight", tensors.get("x_embedder.weight"))
    wide, channels = into.shape if into is not None and len(into.shape) == 2 else (0, 0)
    if family == "flux-dev":
        return {384: ("flux-fill",), 128: ("flux-control",)}.get(channels, (family,))
    if family == "flux2":
        return ("flux2-dev",) if wide == 6144 else ("flux2-klein",)
    return (family,)


def _of_controlnet(header: Header) -> tuple[str, ...]:
    tensors = _without_prefix(header, ("control_model.",))
    if family := UNETS.get(_text_width(tensors)):
        return (family,)
    names = "\n".join(tensors)
    if re.search(
        r"^(controlnet_)?single_(transformer_)?blocks\.|^controlnet_x_embedder", names, re.M
    ):
        return ("flux-dev",)
    if re.search(r"^pos_embed(_input)?\.proj\.", names, re.MULTILINE):
        return ("sd3", "sd35-medium", "sd35-large")
    return ("sdxl",) if "add_embedding.linear_1.weight" in tensors else ()


def _of_vae(header: Header) -> tuple[str, ...]:
    tensors = _without_prefix(header, ("first_stage_model.", "vae."))
    if (
        "decoder.middle.0.residual.0.gamma" in tensors
        or "decoder.mid_block.resnets.0.norm1.gamma" in tensors
    ):
        return ("qwen-image",)
    first = tensors.get("decoder.conv_in.weight")
    return _VAES.get(first.shape[1], ()) if first is not None and len(first.shape) == 4 else ()


def _of_embedding(header: Header) -> tuple[str, ...]:
    if "clip_g" in header or "text_encoders_1" in header:
        return ("sdxl",)
    widths = [each.shape[-1] for each in header.values() if each.shape]
    return _EMBEDDING_WIDTHS.get(widths[0], ()) if widths else ()


def _of_adapter(header: Header) -> tuple[str, ...]:
    for key in _BASE_KEYS:
        said = header.metadata.get(key, "").lower()
        for start, family in _WRITTEN:
            if said.startswith(start):
                return (family,)
    names = "\n".join(header)
    for mark, families in _LORAS:
        if re.search(mark, names, re.MULTILINE):
            return families
    unet = UNETS.get(_text_width(header))
    return (unet,) if unet else ()


def _text_width(tensors: Mapping[str, Tensor]) -> int:
    """How wide the text is that a UNet's attention, or a change of it, reads; 0: nothing tells."""
    for name, tensor in tensors.items():
        if _TEXT_LAYER.search(name) and len(tensor.shape) >= 2:
            return tensor.shape[1]
    return 0


def _parts(header: Header, families: tuple[str, ...]) -> dict[str, str]:
    is_unet = any(name.startswith(("model.diffusion_model.input_blocks.",)) for name in header)
    is_flux = bool(families) and families[0].startswith(("flux", "chroma"))
    found = {}
    for start, names in PARTS.items():
        if _begins(header, start):
            second = is_flux if start.startswith("text_encoders") else not is_unet
            found[names[-1] if second else names[0]] = start
    return found


def _prediction(header: Header) -> Prediction | None:
    said = header.metadata.get("modelspec.prediction_type", "").lower()
    if said in ("v", "v_prediction") or "v_pred" in header:
        return "v_prediction"
    if header.metadata.get("ss_v_parameterization") == "True":
        return "v_prediction"
    return "epsilon" if said in ("epsilon", "eps") else None


def _dtype(tensors: Iterable[Tensor]) -> str:
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.size
    return max(sizes, key=sizes.__getitem__, default="")


def _without_prefix(header: Mapping[str, Tensor], starts: tuple[str, ...]) -> Mapping[str, Tensor]:
    """The tensors whose names begin with the first of `starts` that any does, without it."""
    for start in starts:
        if _begins(header, start):
            return {
                name.removeprefix(start): tensor
                for name, tensor in header.items()
                if name.startswith(start)
            }
    return header


def _begins(header: Iterable[str], start: str) -> bool:
    return any(name.startswith(start) for name in header)
