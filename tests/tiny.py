"""Tiny diffusers pipelines with random weights: the real code path, in milliseconds on a CPU."""

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LDMPipeline,
    LDMSuperResolutionPipeline,
    PNDMScheduler,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionGLIGENPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffusers.utils import logging as diffusers_logging
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.utils import logging as transformers_logging

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.pipelines import LoadedModel

IMAGE_SIZE = 16
LATENT_SIZE = 8
MAX_TOKENS = 16
ROUNDING = 32 if torch.cuda.is_available() else 1
"""Levels of 255 by which a picture may differ when it is made among another number of rows."""
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SDXL = {
    "cross_attention_dim": 32,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 16,
}
SD3 = {
    "sample_size": LATENT_SIZE,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "caption_projection_dim": 16,
    "pooled_projection_dim": 32,
    "pos_embed_max_size": 16,
}


def sd15() -> StableDiffusionPipeline:
    """Shaped like Stable Diffusion 1.5."""
    torch.manual_seed(15)
    return StableDiffusionPipeline(
        **_sd15(unet(cross_attention_dim=16)), requires_safety_checker=False
    )


def sd15_inpaint() -> StableDiffusionInpaintPipeline:
    """Shaped like Stable Diffusion 1.5's inpainting model: the network takes the masked picture
    and the mask besides the latents."""
    torch.manual_seed(9)
    parts = _sd15(unet(cross_attention_dim=16, in_channels=9))
    return StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)


def gligen() -> StableDiffusionGLIGENPipeline:
    """Shaped like GLIGEN for text and boxes. Its gates begin closed; here they do not."""
    torch.manual_seed(14)
    network = unet(cross_attention_dim=16, attention_type="gated")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("alpha_attn", "alpha_dense")):
                parameter.fill_(0.7)
    return StableDiffusionGLIGENPipeline(**_sd15(network), requires_safety_checker=False)


def _sd15(network: UNet2DConditionModel) -> dict[str, object]:
    return {
        "vae": _vae(),
        "text_encoder": _text_encoder(CLIPTextModel),
        "tokenizer": tokenizer(),
        "unet": network,
        "scheduler": PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
        "safety_checker": None,
        "feature_extractor": None,
    }


def sdxl() -> StableDiffusionXLPipeline:
    """Shaped like SDXL: two text encoders, text and size embeddings added to the time's."""
    torch.manual_seed(21)
    return StableDiffusionXLPipeline(**_sdxl(), add_watermarker=False)


def sdxl_turbo() -> StableDiffusionXLPipeline:
    """Shaped like SDXL Turbo: for one to four steps without guidance."""
    torch.manual_seed(22)
    turbo = EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    return StableDiffusionXLPipeline(**_sdxl() | {"scheduler": turbo}, add_watermarker=False)


def sdxl_inpaint() -> StableDiffusionXLInpaintPipeline:
    """Shaped like SDXL's inpainting model: nine channels go into the network."""
    torch.manual_seed(23)
    return StableDiffusionXLInpaintPipeline(**_sdxl(in_channels=9), add_watermarker=False)


def _sdxl(**config: object) -> dict[str, object]:
    return {
        "vae": _vae(),
        "text_encoder": _text_encoder(CLIPTextModel),
        "text_encoder_2": _text_encoder(CLIPTextModelWithProjection),
        "tokenizer": tokenizer(),
        "tokenizer_2": tokenizer(),
        "unet": unet(**SDXL, **config),
        "scheduler": EulerDiscreteScheduler(**BETAS),
    }


def sd3() -> StableDiffusion3Pipeline:
    """Shaped like Stable Diffusion 3: a transformer and rectified flow; without the third
    encoder, as people run it when memory is short."""
    torch.manual_seed(3)
    return StableDiffusion3Pipeline(
        **_sd3(), text_encoder_3=None, tokenizer_3=None, transformer=_sd3_transformer()
    )


def sd35() -> StableDiffusion3Pipeline:
    """Shaped like Stable Diffusion 3.5 Medium: normalised queries and keys, a second attention
    in some layers, all three encoders."""
    torch.manual_seed(35)
    return StableDiffusion3Pipeline(
        **_sd3(),
        text_encoder_3=_t5(),
        tokenizer_3=t5_tokenizer(),
        transformer=_sd3_transformer(qk_norm="rms_norm", dual_attention_layers=(0,)),
    )


def _sd3() -> dict[str, object]:
    return {
        "vae": _vae(shift_factor=0.06, latent_channels=16),
        "text_encoder": _text_encoder(CLIPTextModelWithProjection),
        "text_encoder_2": _text_encoder(CLIPTextModelWithProjection),
        "tokenizer": tokenizer(),
        "tokenizer_2": tokenizer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def _sd3_transformer(**config: object) -> SD3Transformer2DModel:
    return SD3Transformer2DModel(**SD3, **config).eval()


def flux() -> FluxPipeline:
    """Shaped like FLUX.1-dev: latents packed in twos, guidance as an embedding, CLIP and T5."""
    torch.manual_seed(12)
    return FluxPipeline(
        vae=_vae(shift_factor=0.1),
        text_encoder=_text_encoder(CLIPTextModel),
        text_encoder_2=_t5(),
        tokenizer=tokenizer(),
        tokenizer_2=t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 6, 6),
            guidance_embeds=True,
        ).eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def kontext() -> FluxKontextPipeline:
    """Shaped like FLUX.1 Kontext: Flux, which is handed a picture's latents beside the noise."""
    return FluxKontextPipeline(**flux().components)


def pix2pix() -> StableDiffusionInstructPix2PixPipeline:
    """Shaped like InstructPix2Pix: the picture's latents go into the network along with the noise,
    and guidance has a row more."""
    torch.manual_seed(20)
    parts = _sd15(unet(cross_attention_dim=16, in_channels=8))
    return StableDiffusionInstructPix2PixPipeline(**parts)


def dit() -> DiTPipeline:
    """Shaped like DiT: a transformer that takes the number of a class, 1000 of them."""
    torch.manual_seed(16)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=LATENT_SIZE,
        norm_num_groups=8,
    )
    return DiTPipeline(
        transformer=transformer.eval(), vae=_vae(), scheduler=DDIMScheduler(clip_sample=False)
    )


def ldm() -> LDMPipeline:
    """Shaped like the latent diffusion model of faces: no condition, latents with a codebook."""
    torch.manual_seed(17)
    return LDMPipeline(vqvae=_vqvae(2), unet=_unconditional(3), scheduler=DDIMScheduler(**BETAS))


def super_resolution() -> LDMSuperResolutionPipeline:
    """Shaped like latent diffusion's super-resolution: the small picture goes into the network
    along with the latents."""
    torch.manual_seed(18)
    return LDMSuperResolutionPipeline(
        vqvae=_vqvae(3), unet=_unconditional(6), scheduler=DDIMScheduler(**BETAS)
    )


def upscaler() -> StableDiffusionUpscalePipeline:
    """Shaped like Stable Diffusion's x4 upscaler: a prompt, and noise on the small picture."""
    torch.manual_seed(19)
    return StableDiffusionUpscalePipeline(
        vae=_vae(levels=3, scaling_factor=0.08333),
        text_encoder=_text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        unet=unet(cross_attention_dim=16, in_channels=7, num_class_embeds=1000),
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler(**BETAS),
    )


def lcm() -> LatentConsistencyModelPipeline:
    """Shaped like a latent consistency model: guidance is an embedding, no negative prompt."""
    torch.manual_seed(4)
    return LatentConsistencyModelPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        unet=unet(cross_attention_dim=16, time_cond_proj_dim=8),
        scheduler=LCMScheduler(**BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "sd15": sd15,
    "sdxl": sdxl,
    "sdxl-turbo": sdxl_turbo,
    "sd3": sd3,
    "sd35": sd35,
    "flux": flux,
    "lcm": lcm,
}
"""Those that make pictures from prompts and pictures."""

SPECIAL: dict[str, Callable[[], DiffusionPipeline]] = {
    "sd15-inpaint": sd15_inpaint,
    "sdxl-inpaint": sdxl_inpaint,
    "gligen": gligen,
    "kontext": kontext,
    "pix2pix": pix2pix,
    "dit": dit,
    "ldm": ldm,
    "super-resolution": super_resolution,
    "upscaler": upscaler,
}
"""Those that are made for one task."""


def write(family: str, folder: Path) -> Path:
    """A model folder as diffusers writes it: safetensors and JSON."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    (FAMILIES | SPECIAL)[family]().save_pretrained(folder, safe_serialization=True)
    return folder


def load(
    family: str, folder: Path, gather: Gather, *, dtype: str = "float32", **card: object
) -> LoadedModel:
    """The family as a worker has it: written to `folder`, read and wrapped."""
    if not (folder / "model_index.json").exists():
        write(family, folder)
    model = ModelCard(name=family, source=str(folder), dtype=dtype, **card)
    catalog = Catalog([model], family, folder)
    return pipelines.load(model, catalog, gather, torch.device("cpu"))


def unet(*, in_channels: int = 4, **config: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **config,
    )


def controlnet(**config: object) -> ControlNetModel:
    """Fits `unet(cross_attention_dim=16)`, or that of SDXL with `**SDXL`."""
    return _awake(
        ControlNetModel(
            in_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            conditioning_embedding_out_channels=(8, 8),
            **{"cross_attention_dim": 16, **config},
        )
    )


def sd3_controlnet(**config: object) -> SD3ControlNetModel:
    """Fits `sd3`; for inpainting with `extra_conditioning_channels=1`."""
    return _awake(SD3ControlNetModel(**SD3 | {"num_layers": 1} | config))


def _awake(made: torch.nn.Module) -> torch.nn.Module:
    """A ControlNet's last layers begin as zeros; here they do not."""
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return made.eval()


def tokenizer() -> CLIPTokenizer:
    """Byte-level, without merges: one token per letter."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)


def t5_tokenizer() -> T5Tokenizer:
    """One token per letter, and no word for a tab."""
    letters = [chr(code) for code in range(33, 127) if chr(code) != "<"]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary = [*special, *((letter, -3.0) for letter in letters)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=MAX_TOKENS)


def _vae(*, levels: int = 2, **config: object) -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=IMAGE_SIZE,
        block_out_channels=(8, 16, 16)[:levels],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=4,
        **{"latent_channels": 4, **config},
    )


def _vqvae(levels: int) -> VQModel:
    return VQModel(
        sample_size=IMAGE_SIZE,
        block_out_channels=(8, 16, 16)[:levels],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=3,
        num_vq_embeddings=32,
        norm_num_groups=4,
    )


def _unconditional(in_channels: int) -> UNet2DModel:
    return UNet2DModel(
        sample_size=LATENT_SIZE,
        in_channels=in_channels,
        out_channels=3,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(t5_tokenizer()),
            d_model=32,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    ).eval()


def _text_encoder(cls: type) -> CLIPTextModel | CLIPTextModelWithProjection:
    ids = tokenizer()
    return cls(
        CLIPTextConfig(
            vocab_size=len(ids),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=16,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=ids.bos_token_id,
            eos_token_id=ids.eos_token_id,
            pad_token_id=ids.pad_token_id,
        )
    ).eval()
