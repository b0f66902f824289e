"""Names and shapes of the tensors in files as models were published, written from the definitions
of their networks; what reads them is never asked.

Of Stable Diffusion: `ldm/modules/diffusionmodules/openaimodel.py` (UNetModel) and `model.py`
(Encoder, Decoder) and `ldm/modules/attention.py` of CompVis/stable-diffusion and
Stability-AI/stablediffusion, `sgm/modules/encoders/modules.py` of Stability-AI/generative-models
and the configurations beside them; its text encoders: transformers' CLIP and
`open_clip/transformer.py` of mlfoundations/open_clip. Flux: `src/flux/model.py` of
black-forest-labs/flux.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

Shapes = dict[str, tuple[int, ...]]

SCHEDULE = ("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod")
"""Some of what `ldm/models/diffusion/ddpm.py` keeps as buffers."""


@dataclass(frozen=True)
class Unet:
    """The arguments of a UNetModel; those of Stable Diffusion 1."""

    in_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (4, 2, 1)
    transformer_depth: tuple[int, ...] = (1, 1, 1, 1)
    context_dim: int = 768
    use_linear: bool = False
    adm_in_channels: int | None = None


@dataclass(frozen=True)
class Vae:
    """The arguments of an AutoencoderKL; those of all Stable Diffusions before 3."""

    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 4


@dataclass(frozen=True)
class Text:
    """The sizes of a text encoder; those of CLIP ViT-L/14."""

    width: int = 768
    layers: int = 12
    projection: int = 768
    vocabulary: int = 49408
    context: int = 77


VIT_H = Text(width=1024, layers=24, projection=1024)
BIG_G = Text(width=1280, layers=32, projection=1280)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint consists of: text encoders by the name that their module has in it, and
    whether open_clip's."""

    unet: Unet
    vae: Vae
    encoders: tuple[tuple[str, Text, bool], ...]


SD1 = Checkpoint(Unet(), Vae(), (("cond_stage_model.", Text(), False),))
SD1_INPAINT = replace(SD1, unet=Unet(in_channels=9))
SD2 = Checkpoint(
    Unet(context_dim=1024, use_linear=True), Vae(), (("cond_stage_model.model.", VIT_H, True),)
)
SD2_INPAINT = replace(SD2, unet=replace(SD2.unet, in_channels=9))
SDXL = Checkpoint(
    Unet(
        channel_mult=(1, 2, 4),
        attention_resolutions=(4, 2),
        transformer_depth=(1, 2, 10),
        context_dim=2048,
        use_linear=True,
        adm_in_channels=2816,
    ),
    Vae(),
    (
        ("conditioner.embedders.0.", Text(), False),
        ("conditioner.embedders.1.model.", BIG_G, True),
    ),
)
SDXL_INPAINT = replace(SDXL, unet=replace(SDXL.unet, in_channels=9))
SDXL_REFINER = Checkpoint(
    Unet(
        model_channels=384,
        attention_resolutions=(4, 2),
        transformer_depth=(4, 4, 4, 4),
        context_dim=1280,
        use_linear=True,
        adm_in_channels=2560,
    ),
    Vae(),
    (("conditioner.embedders.0.model.", BIG_G, True),),
)


def checkpoint(made: Checkpoint) -> Shapes:
    shapes = {
        **prefixed("model.diffusion_model.", unet(made.unet)),
        **prefixed("first_stage_model.", vae(made.vae)),
        **dict.fromkeys(SCHEDULE, (1000,)),
    }
    for start, text, is_open in made.encoders:
        shapes |= prefixed(start, open_clip(text) if is_open else clip(text))
    return shapes


def prefixed(start: str, shapes: Shapes) -> Shapes:
    return {start + name: shape for name, shape in shapes.items()}


def unet(made: Unet) -> Shapes:
    base, emb = made.model_channels, 4 * made.model_channels
    shapes = _linear("time_embed.0", base, emb) | _linear("time_embed.2", emb, emb)
    if made.adm_in_channels is not None:
        shapes |= _linear("label_emb.0.0", made.adm_in_channels, emb)
        shapes |= _linear("label_emb.0.2", emb, emb)
    shapes |= _conv("input_blocks.0.0", made.in_channels, base, 3)
    skips, channels, shrunk, block = [base], base, 1, 1
    for level, mult in enumerate(made.channel_mult):
        for _ in range(made.num_res_blocks):
            name = f"input_blocks.{block}"
            shapes |= _residual(f"{name}.0", channels, mult * base, emb)
            channels = mult * base
            if shrunk in made.attention_resolutions:
                shapes |= _transformer(f"{name}.1", channels, made.transformer_depth[level], made)
            skips.append(channels)
            block += 1
        if level != len(made.channel_mult) - 1:
            shapes |= _conv(f"input_blocks.{block}.0.op", channels, channels, 3)
            skips.append(channels)
            block += 1
            shrunk *= 2
    shapes |= _residual("middle_block.0", channels, channels, emb)
    shapes |= _transformer("middle_block.1", channels, made.transformer_depth[-1], made)
    shapes |= _residual("middle_block.2", channels, channels, emb)
    block = 0
    for level, mult in reversed(list(enumerate(made.channel_mult))):
        for number in range(made.num_res_blocks + 1):
            name, place = f"output_blocks.{block}", 1
            shapes |= _residual(f"{name}.0", channels + skips.pop(), mult * base, emb)
            channels = mult * base
            if shrunk in made.attention_resolutions:
                shapes |= _transformer(f"{name}.1", channels, made.transformer_depth[level], made)
                place = 2
            if level and number == made.num_res_blocks:
                shapes |= _conv(f"{name}.{place}.conv", channels, channels, 3)
                shrunk //= 2
            block += 1
    return shapes | _norm("out.0", channels) | _conv("out.2", channels, 4, 3)


def _residual(name: str, into: int, out: int, emb: int) -> Shapes:
    shapes = _norm(f"{name}.in_layers.0", into) | _conv(f"{name}.in_layers.2", into, out, 3)
    shapes |= _linear(f"{name}.emb_layers.1", emb, out)
    shapes |= _norm(f"{name}.out_layers.0", out) | _conv(f"{name}.out_layers.3", out, out, 3)
    return shapes | (_conv(f"{name}.skip_connection", into, out, 1) if into != out else {})


def _transformer(name: str, width: int, depth: int, made: Unet) -> Shapes:
    edge = _linear if made.use_linear else lambda where, into, out: _conv(where, into, out, 1)
    shapes = _norm(f"{name}.norm", width) | edge(f"{name}.proj_in", width, width)
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for attention, context in (("attn1", width), ("attn2", made.context_dim)):
            shapes[f"{block}.{attention}.to_q.weight"] = (width, width)
            shapes[f"{block}.{attention}.to_k.weight"] = (width, context)
            shapes[f"{block}.{attention}.to_v.weight"] = (width, context)
            shapes |= _linear(f"{block}.{attention}.to_out.0", width, width)
        shapes |= _linear(f"{block}.ff.net.0.proj", width, 8 * width)
        shapes |= _linear(f"{block}.ff.net.2", 4 * width, width)
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= _norm(f"{block}.{norm}", width)
    return shapes | edge(f"{name}.proj_out", width, width)


def vae(made: Vae) -> Shapes:
    last = len(made.ch_mult) - 1
    shapes = _conv("encoder.conv_in", 3, made.ch, 3)
    channels = made.ch
    for level, mult in enumerate(made.ch_mult):
        for number in range(made.num_res_blocks):
            name = f"encoder.down.{level}.block.{number}"
            shapes |= _vae_residual(name, channels, mult * made.ch)
            channels = mult * made.ch
        if level != last:
            shapes |= _conv(f"encoder.down.{level}.downsample.conv", channels, channels, 3)
    shapes |= _vae_middle("encoder.mid", channels) | _norm("encoder.norm_out", channels)
    shapes |= _conv("encoder.conv_out", channels, 2 * made.z_channels, 3)
    shapes |= _conv("decoder.conv_in", made.z_channels, channels, 3)
    shapes |= _vae_middle("decoder.mid", channels)
    for level, mult in reversed(list(enumerate(made.ch_mult))):
        for number in range(made.num_res_blocks + 1):
            name = f"decoder.up.{level}.block.{number}"
            shapes |= _vae_residual(name, channels, mult * made.ch)
            channels = mult * made.ch
        if level:
            shapes |= _conv(f"decoder.up.{level}.upsample.conv", channels, channels, 3)
    shapes |= _norm("decoder.norm_out", channels) | _conv("decoder.conv_out", channels, 3, 3)
    shapes |= _conv("quant_conv", 2 * made.z_channels, 2 * made.z_channels, 1)
    return shapes | _conv("post_quant_conv", made.z_channels, made.z_channels, 1)


def _vae_residual(name: str, into: int, out: int) -> Shapes:
    shapes = _norm(f"{name}.norm1", into) | _conv(f"{name}.conv1", into, out, 3)
    shapes |= _norm(f"{name}.norm2", out) | _conv(f"{name}.conv2", out, out, 3)
    return shapes | (_conv(f"{name}.nin_shortcut", into, out, 1) if into != out else {})


def _vae_middle(name: str, channels: int) -> Shapes:
    shapes = _vae_residual(f"{name}.block_1", channels, channels) | _norm(
        f"{name}.attn_1.norm", channels
    )
    for part in ("q", "k", "v", "proj_out"):
        shapes |= _conv(f"{name}.attn_1.{part}", channels, channels, 1)
    return shapes | _vae_residual(f"{name}.block_2", channels, channels)


def clip(made: Text) -> Shapes:
    """As FrozenCLIPEmbedder keeps transformers' CLIPTextModel of those days."""
    start = "transformer.text_model"
    shapes: Shapes = {
        f"{start}.embeddings.position_ids": (1, made.context),
        f"{start}.embeddings.token_embedding.weight": (made.vocabulary, made.width),
        f"{start}.embeddings.position_embedding.weight": (made.context, made.width),
    }
    for number in range(made.layers):
        layer = f"{start}.encoder.layers.{number}"
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= _linear(f"{layer}.self_attn.{part}", made.width, made.width)
        shapes |= _norm(f"{layer}.layer_norm1", made.width)
        shapes |= _linear(f"{layer}.mlp.fc1", made.width, 4 * made.width)
        shapes |= _linear(f"{layer}.mlp.fc2", 4 * made.width, made.width)
        shapes |= _norm(f"{layer}.layer_norm2", made.width)
    return shapes | _norm(f"{start}.final_layer_norm", made.width)


def open_clip(made: Text) -> Shapes:
    """A CLIP of open_clip without its half that sees: projection as a matrix that multiplies from
    the right, queries, keys and values in one."""
    shapes: Shapes = {
        "positional_embedding": (made.context, made.width),
        "text_projection": (made.width, made.projection),
        "logit_scale": (),
        "token_embedding.weight": (made.vocabulary, made.width),
    }
    for number in range(made.layers):
        block = f"transformer.resblocks.{number}"
        shapes |= _norm(f"{block}.ln_1", made.width)
        shapes[f"{block}.attn.in_proj_weight"] = (3 * made.width, made.width)
        shapes[f"{block}.attn.in_proj_bias"] = (3 * made.width,)
        shapes |= _linear(f"{block}.attn.out_proj", made.width, made.width)
        shapes |= _norm(f"{block}.ln_2", made.width)
        shapes |= _linear(f"{block}.mlp.c_fc", made.width, 4 * made.width)
        shapes |= _linear(f"{block}.mlp.c_proj", 4 * made.width, made.width)
    return shapes | _norm("ln_final", made.width)


def controlnet(made: Unet, hint: Iterable[int] = (16, 16, 32, 32, 96, 96, 256)) -> Shapes:
    """`cldm/cldm.py` of lllyasviel/ControlNet: the first half of a UNet, a zero convolution behind
    each of its blocks, and layers that read the picture."""
    shapes = {k: v for k, v in unet(made).items() if not k.startswith(("output_blocks.", "out."))}
    blocks = sorted(
        {int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks.")}
    )
    for block in blocks:
        first = (
            next(
                name
                for name in (
                    f"input_blocks.{block}.0.{each}.bias" for each in ("op", "out_layers.3")
                )
                if block and name in shapes
            )
            if block
            else "input_blocks.0.0.bias"
        )
        shapes |= _conv(f"zero_convs.{block}.0", shapes[first][0], shapes[first][0], 1)
    width = shapes["middle_block.2.out_layers.3.bias"][0]
    shapes |= _conv("middle_block_out.0", width, width, 1)
    channels = 3
    for number, out in enumerate((*hint, made.model_channels)):
        shapes |= _conv(f"input_hint_block.{2 * number}", channels, out, 3)
        channels = out
    return prefixed("control_model.", shapes)


def flux(
    *,
    hidden: int,
    heads: int,
    depth: int,
    single: int,
    into: int,
    text: int,
    pooled: int,
    has_guidance: bool = True,
) -> Shapes:
    shapes = _linear("img_in", into, hidden) | _linear("txt_in", text, hidden)
    for name, width in (("time_in", 256), ("vector_in", pooled), ("guidance_in", 256)):
        if name != "guidance_in" or has_guidance:
            shapes |= _linear(f"{name}.in_layer", width, hidden)
            shapes |= _linear(f"{name}.out_layer", hidden, hidden)
    for number in range(depth):
        for side in ("img", "txt"):
            block = f"double_blocks.{number}.{side}"
            shapes |= _linear(f"{block}_mod.lin", hidden, 6 * hidden)
            shapes |= _linear(f"{block}_attn.qkv", hidden, 3 * hidden)
            shapes |= _linear(f"{block}_attn.proj", hidden, hidden)
            for norm in ("query_norm", "key_norm"):
                shapes[f"{block}_attn.norm.{norm}.scale"] = (hidden // heads,)
            shapes |= _linear(f"{block}_mlp.0", hidden, 4 * hidden)
            shapes |= _linear(f"{block}_mlp.2", 4 * hidden, hidden)
    for number in range(single):
        block = f"single_blocks.{number}"
        shapes |= _linear(f"{block}.linear1", hidden, 7 * hidden)
        shapes |= _linear(f"{block}.linear2", 5 * hidden, hidden)
        for norm in ("query_norm", "key_norm"):
            shapes[f"{block}.norm.{norm}.scale"] = (hidden // heads,)
        shapes |= _linear(f"{block}.modulation.lin", hidden, 3 * hidden)
    shapes |= _linear("final_layer.linear", hidden, into)
    return shapes | _linear("final_layer.adaLN_modulation.1", hidden, 2 * hidden)


def _linear(name: str, into: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _conv(name: str, into: int, out: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (out, into, kernel, kernel), f"{name}.bias": (out,)}
