"""A tiny model with random weights of each family of pipelines, beside those of tiny.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.utils import is_torchvision_available

from tests import tiny, tiny_transformers
from tests.tiny_transformers import TEXT
from worker.loading.processors import complete_omnigen, for_pictures

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content if m.content is string "
    "else m.content[0].text }}<|im_end|>{% endfor %}"
)
LM = {
    "hidden_size": TEXT,
    "intermediate_size": TEXT,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}
ROPE = {"rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}}
VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2}


def tokenizer() -> transformers.Qwen2Tokenizer:
    """Of bytes, without merges, with a template for chats."""
    from tokenizers.pre_tokenizers import ByteLevel

    names = [*SPECIAL, *sorted(ByteLevel.alphabet())]
    made = transformers.Qwen2Tokenizer(
        vocab={name: number for number, name in enumerate(names)}, merges=[]
    )
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    made.chat_template = TEMPLATE
    return made


def fast_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """The same with a first token, so that nothing is read as no tokens at all."""
    from tokenizers.processors import TemplateProcessing

    made = tokenizer()
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", SPECIAL.index("<|im_start|>"))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made.backend_tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[0]
    )


def processor() -> transformers.Qwen2VLProcessor:
    """As it is read where torchvision is installed, and where it is not."""
    parts = {"image_processor": transformers.Qwen2VLImageProcessor(), "tokenizer": tokenizer()}
    if not is_torchvision_available():
        return for_pictures(transformers.Qwen2VLProcessor)(**parts, chat_template=TEMPLATE)
    parts["video_processor"] = transformers.Qwen2VLVideoProcessor()
    return transformers.Qwen2VLProcessor(**parts, chat_template=TEMPLATE)


def t5(**config: Any) -> transformers.T5EncoderModel:
    size = {"d_model": TEXT, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    words = {"vocab_size": len(tiny.t5_tokenizer()), "feed_forward_proj": "gated-gelu"}
    return transformers.T5EncoderModel(transformers.T5Config(**size | words | config)).eval()


def qwen_vl() -> transformers.Qwen2_5_VLForConditionalGeneration:
    text = {**LM, **ROPE, "vocab_size": len(tokenizer())}
    marks = ("image", "<|image_pad|>"), ("video", "<|video_pad|>"), ("vision_start", SPECIAL[3])
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={**VISION, "out_hidden_size": TEXT},
        vocab_size=300,
        **{f"{what}_token_id": SPECIAL.index(mark) for what, mark in marks},
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config).eval()


def lm(name: str, *, suffix: str = "Model", **config: Any) -> transformers.PreTrainedModel:
    """A language model of the class `name` + `suffix`."""
    made = getattr(transformers, f"{name}Config")(**LM | {"vocab_size": len(tokenizer())} | config)
    return getattr(transformers, name + suffix)(made).eval()


def qwen_vae(channels: int = 4, levels: int = 2, **config: Any) -> diffusers.AutoencoderKLQwenImage:
    """`channels` of its latents, whose sides are halved at each of its levels but the first."""
    return diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=channels,
        dim_mult=[1, *[2] * (levels - 1)],
        num_res_blocks=1,
        temperal_downsample=[False] * (levels - 1),
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
        **config,
    )


def vae8() -> diffusers.AutoencoderKL:
    """Latents eight times smaller: some pipelines take this for granted."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        shift_factor=0.1,
    )


def flow(**config: Any) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**config)


def _with_t5(network: torch.nn.Module, vae: Any = None) -> dict[str, Any]:
    return {
        "scheduler": flow(),
        "vae": vae or tiny._vae(shift_factor=0.1),
        "text_encoder": t5(),
        "tokenizer": tiny.t5_tokenizer(),
        "transformer": network,
    }


def with_lm(network: torch.nn.Module, encoder: Any, vae: Any = None) -> dict[str, Any]:
    parts = {"text_encoder": encoder, "tokenizer": tokenizer()}
    return {
        "scheduler": flow(),
        "vae": vae or tiny._vae(shift_factor=0.1),
        **parts,
        "transformer": network,
    }


def aura_flow() -> DiffusionPipeline:
    return diffusers.AuraFlowPipeline(**_with_t5(tiny_transformers.aura_flow()))


def bria() -> DiffusionPipeline:
    network = diffusers.BriaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        pooled_projection_dim=None,
        axes_dims_rope=[0, 4, 4],
    )
    # One level: to the pipeline that makes pictures twice as large, which packing undoes.
    vae = tiny._vae(levels=1, shift_factor=0.0)
    return diffusers.BriaPipeline(
        **_with_t5(network, vae), image_encoder=None, feature_extractor=None
    )


def bria_fibo() -> DiffusionPipeline:
    network = diffusers.BriaFiboTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * TEXT,
        text_encoder_dim=TEXT,
        pooled_projection_dim=None,
        axes_dims_rope=[0, 4, 4],
    )
    vae = diffusers.AutoencoderKLWan(
        base_dim=8,
        decoder_base_dim=8,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )
    encoder = lm("SmolLM3", suffix="ForCausalLM", pad_token_id=0, vocab_size=128_001)
    return diffusers.BriaFiboPipeline(**with_lm(network, encoder, vae))


def chroma() -> DiffusionPipeline:
    return diffusers.ChromaPipeline(
        **_with_t5(tiny_transformers.chroma()), image_encoder=None, feature_extractor=None
    )


def cogview3() -> DiffusionPipeline:
    network = diffusers.CogView3PlusTransformer2DModel(
        in_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        out_channels=4,
        text_embed_dim=TEXT,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=32,
        sample_size=8,
    )
    parts = _with_t5(network, tiny._vae()) | {"scheduler": diffusers.CogVideoXDDIMScheduler()}
    return diffusers.CogView3PlusPipeline(**parts)


def cogview4() -> DiffusionPipeline:
    network = diffusers.CogView4Transformer2DModel(
        in_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=4,
        out_channels=4,
        text_embed_dim=TEXT,
        time_embed_dim=8,
        condition_dim=4,
        sample_size=8,
    )
    shift = flow(base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True)
    parts = with_lm(network, lm("Glm", pad_token_id=0), vae8())
    return diffusers.CogView4Pipeline(**parts | {"scheduler": shift, "tokenizer": fast_tokenizer()})


def depth_to_image() -> DiffusionPipeline:
    torch.manual_seed(31)
    size = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = transformers.DPTConfig(
        **size,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        is_hybrid=False,
        use_auxiliary_head=False,
    )
    parts = tiny._sd15(tiny.unet(cross_attention_dim=16, in_channels=5))
    parts.pop("safety_checker")
    return diffusers.StableDiffusionDepth2ImgPipeline(
        **parts
        | {
            "depth_estimator": transformers.DPTForDepthEstimation(config).eval(),
            "feature_extractor": transformers.DPTImageProcessor(size={"height": 32, "width": 32}),
        }
    )


def ernie() -> DiffusionPipeline:
    network = diffusers.ErnieImageTransformer2DModel(
        hidden_size=16,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=16,
        in_channels=16,
        out_channels=16,
        text_in_dim=TEXT,
        rope_axes_dim=(2, 2, 4),
    )
    return diffusers.ErnieImagePipeline(**with_lm(network, lm("Qwen3"), flux2_vae()))


def flux2_vae() -> diffusers.AutoencoderKLFlux2:
    return diffusers.AutoencoderKLFlux2(
        sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )


def flux2_klein() -> DiffusionPipeline:
    network = flux2_network(guidance_embeds=False)
    encoder = lm("Qwen3", suffix="ForCausalLM", num_hidden_layers=28)
    return diffusers.Flux2KleinPipeline(**with_lm(network, encoder, flux2_vae()))


def flux2_network(*, guidance_embeds: bool) -> torch.nn.Module:
    """Its prompts are read at three layers of their encoder."""
    network = tiny_transformers.flux2(guidance_embeds=guidance_embeds)
    config = {**network.config, "joint_attention_dim": 3 * TEXT}
    return diffusers.Flux2Transformer2DModel.from_config(config).eval()


def flux_fill() -> DiffusionPipeline:
    parts = tiny.flux().components
    mask = 4 * 2 * 2 + 2 * 2 * 2 * 2  # the masked picture and each pixel of the mask
    network = diffusers.FluxTransformer2DModel.from_config(
        parts["transformer"].config, in_channels=16 + mask, out_channels=16
    )
    names = ("image_encoder", "feature_extractor")
    kept = {name: part for name, part in parts.items() if name not in names}
    return diffusers.FluxFillPipeline(**kept | {"transformer": network.eval()})


def flux_kontext() -> DiffusionPipeline:
    return diffusers.FluxKontextPipeline(**tiny.flux().components)


def hidream() -> DiffusionPipeline:
    network = diffusers.HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=[TEXT, TEXT],
        text_emb_dim=32,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(4, 2, 2),
        max_resolution=(64, 64),
        llama_layers=(0, 1),
    ).eval()
    config = tiny._text_encoder(transformers.CLIPTextModelWithProjection).config
    config.max_position_embeddings = 256
    clip = transformers.CLIPTextModelWithProjection(config).eval()
    return diffusers.HiDreamImagePipeline(
        scheduler=flow(),
        vae=tiny._vae(shift_factor=0.1),
        text_encoder=clip,
        tokenizer=tiny.tokenizer(),
        text_encoder_2=clip,
        tokenizer_2=tiny.tokenizer(),
        text_encoder_3=t5(),
        tokenizer_3=tiny.t5_tokenizer(),
        text_encoder_4=lm("Llama", suffix="ForCausalLM"),
        tokenizer_4=tokenizer(),
        transformer=network,
    )


def hunyuan_dit() -> DiffusionPipeline:
    network = diffusers.HunyuanDiT2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        cross_attention_dim=TEXT,
        cross_attention_dim_t5=TEXT,
        pooled_projection_dim=16,
        hidden_size=24,
        activation_fn="gelu-approximate",
        text_len_t5=256,
    )
    words = transformers.BertTokenizer(
        vocab={
            w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat"])
        }
    )
    bert = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=TEXT,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    return diffusers.HunyuanDiTPipeline(
        transformer=network.eval(),
        vae=vae8(),
        scheduler=diffusers.DDPMScheduler(),
        text_encoder=transformers.BertModel(bert).eval(),
        tokenizer=words,
        text_encoder_2=t5(),
        tokenizer_2=tiny.t5_tokenizer(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def hunyuan_image(**config: Any) -> DiffusionPipeline:
    guiders = {} if config else {"guider": diffusers.AdaptiveProjectedMixGuidance()}
    return diffusers.HunyuanImagePipeline(
        **with_lm(
            tiny_transformers.hunyuan_image(patch_size=(1, 1), **config),
            qwen_vl(),
            diffusers.AutoencoderKLHunyuanImage(
                in_channels=3,
                out_channels=3,
                latent_channels=4,
                block_out_channels=(32, 32),
                layers_per_block=1,
                spatial_compression_ratio=2,
                sample_size=16,
                scaling_factor=0.5,
            ),
        ),
        text_encoder_2=t5(vocab_size=256 + 128),
        tokenizer_2=transformers.ByT5Tokenizer(),
        **guiders,
    )


def if_() -> DiffusionPipeline:
    torch.manual_seed(32)
    network = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=3,
        out_channels=6,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=32,
        encoder_hid_dim=32,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    )
    scheduler = diffusers.DDPMScheduler(variance_type="learned_range", thresholding=True)
    return diffusers.IFPipeline(
        text_encoder=t5(d_model=32),
        tokenizer=tiny.t5_tokenizer(),
        unet=network,
        scheduler=scheduler,
        watermarker=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def kandinsky3() -> DiffusionPipeline:
    network = diffusers.Kandinsky3UNet(
        in_channels=4,
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(32, 64),
        cross_attention_dim=4,
        encoder_hid_dim=TEXT,
    )
    # Its code takes latents to be eight times smaller, whatever the codebook's network does.
    movq = diffusers.VQModel(
        sample_size=64,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        num_vq_embeddings=32,
        norm_num_groups=4,
    )
    return diffusers.Kandinsky3Pipeline(
        tokenizer=tiny.t5_tokenizer(),
        text_encoder=t5(),
        unet=network,
        scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        movq=movq,
    )


def kandinsky5(*, visual_cond: bool = False) -> DiffusionPipeline:
    network = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=16,
        in_text_dim=TEXT,
        in_text_dim2=16,
        time_dim=16,
        out_visual_dim=16,
        patch_size=(1, 2, 2),
        model_dim=16,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(1, 1, 2),
        visual_cond=visual_cond,
        attention_type="regular",
    )
    vae = diffusers.AutoencoderKL.from_config(vae8().config, latent_channels=16)
    config = tiny._text_encoder(transformers.CLIPTextModel).config
    config.max_position_embeddings = 77
    parts = with_lm(network, qwen_vl(), vae) | {"tokenizer": processor()}
    words = tiny.tokenizer()
    words.model_max_length = 77
    return diffusers.Kandinsky5T2IPipeline(
        **parts, text_encoder_2=transformers.CLIPTextModel(config).eval(), tokenizer_2=words
    )


def longcat() -> DiffusionPipeline:
    network = diffusers.LongCatImageTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        pooled_projection_dim=TEXT,
        axes_dims_rope=[4, 6, 6],
    )
    return diffusers.LongCatImagePipeline(
        **with_lm(network, qwen_vl(), tiny._vae(shift_factor=0.1, latent_channels=16)),
        text_processor=processor(),
    )


def kolors(folder: Path) -> DiffusionPipeline:
    """Its tokenizer reads a file of sentencepiece, which is left in `folder`."""
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
    from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        sentence_iterator=iter(["a cat", "a dog on a mat"]),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=20,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=64,
        hidden_size=16,
        ffn_hidden_size=16,
        kv_channels=8,
        num_attention_heads=2,
        seq_length=256,
        multi_query_attention=True,
        multi_query_group_num=1,
        original_rope=True,
        torch_dtype="float32",
    )
    encoder = ChatGLMModel(config, empty_init=False).eval()
    for name, parameter in encoder.named_parameters():
        if "norm" in name:  # its class leaves whatever is in memory there
            torch.nn.init.ones_(parameter)
    sizes = {"projection_class_embeddings_input_dim": 6 * 8 + 16, "cross_attention_dim": 16}
    return diffusers.KolorsPipeline(
        vae=tiny._vae(),
        text_encoder=encoder,
        tokenizer=ChatGLMTokenizer(str(folder / "tokenizer.model")),
        unet=tiny.unet(**tiny.SDXL | sizes),
        scheduler=diffusers.EulerDiscreteScheduler(**tiny.BETAS),
    )


def krea2() -> DiffusionPipeline:
    network = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        timestep_embed_dim=8,
        text_hidden_dim=TEXT,
        num_text_layers=3,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
    )
    config = transformers.Qwen3VLConfig(
        text_config={**LM, "vocab_size": len(tokenizer())},
        vision_config={**VISION, "out_hidden_size": TEXT, "deepstack_visual_indexes": [0]},
    )
    encoder = transformers.Qwen3VLModel(config).eval()
    parts = with_lm(network, encoder, qwen_vae())
    return diffusers.Krea2Pipeline(**parts, text_encoder_select_layers=(0, 1, 2))


def lumina2() -> DiffusionPipeline:
    network = diffusers.Lumina2Transformer2DModel.from_config(
        tiny_transformers.lumina2().config, axes_lens=(1024, 64, 64)
    )
    return diffusers.Lumina2Pipeline(**with_lm(network, lm("Gemma2"), vae8()))


def omnigen() -> DiffusionPipeline:
    complete_omnigen()
    network = diffusers.OmniGenTransformer2DModel(
        hidden_size=16,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=32,
        num_layers=1,
        in_channels=4,
        time_step_dim=4,
        pos_embed_max_size=64,
        vocab_size=300,
        pad_token_id=0,
        rope_scaling={"long_factor": [1, 2], "short_factor": [1, 2]},
    )
    return diffusers.OmniGenPipeline(
        transformer=network,
        vae=vae8(),
        tokenizer=tokenizer(),
        scheduler=flow(invert_sigmas=True, num_train_timesteps=1),
    )


def ovis() -> DiffusionPipeline:
    network = diffusers.OvisImageTransformer2DModel(
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.OvisImagePipeline(**with_lm(network, lm("Qwen3")))


def pixart_sigma() -> DiffusionPipeline:
    # Its code knows the shapes for networks of this many latents, among others.
    network = diffusers.PixArtTransformer2DModel.from_config(
        tiny_transformers.pixart().config, sample_size=32
    )
    parts = _with_t5(network, vae8())
    return diffusers.PixArtSigmaPipeline(**parts | {"scheduler": diffusers.DDIMScheduler()})


def qwen_image() -> DiffusionPipeline:
    network = tiny_transformers.qwen_image()
    return diffusers.QwenImagePipeline(**with_lm(network, qwen_vl(), qwen_vae()))


def refiner() -> DiffusionPipeline:
    """SDXL's: one text encoder, and a score where the base has one size more."""
    torch.manual_seed(33)
    parts = tiny._sdxl()
    sizes = {"projection_class_embeddings_input_dim": 5 * 8 + 16, "cross_attention_dim": 16}
    return diffusers.StableDiffusionXLImg2ImgPipeline(
        **parts
        | {
            "unet": tiny.unet(**tiny.SDXL | sizes),
            "text_encoder": None,
            "tokenizer": None,
        },
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def sana(**config: Any) -> DiffusionPipeline:
    cls = diffusers.SanaSprintPipeline if config else diffusers.SanaPipeline
    # Its code knows the shapes of pictures for networks of this many latents, among others.
    vae = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock",) * 6,
        decoder_block_types=("ResBlock",) * 6,
        encoder_block_out_channels=(4,) * 6,
        decoder_block_out_channels=(4,) * 6,
        encoder_qkv_multiscales=((),) * 6,
        decoder_qkv_multiscales=((),) * 6,
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.4,
    )
    network = diffusers.SanaTransformer2DModel.from_config(
        tiny_transformers.sana(**config).config, sample_size=32 if config else 16
    )
    parts = with_lm(network, lm("Gemma2"), vae)
    scheduler = (
        diffusers.SCMScheduler()
        if config
        else diffusers.DPMSolverMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction"
        )
    )
    return cls(**parts | {"scheduler": scheduler})


def sana_sprint() -> DiffusionPipeline:
    return sana(guidance_embeds=True, qk_norm="rms_norm_across_heads")


def z_image(**config: Any) -> DiffusionPipeline:
    network = tiny_transformers.z_image(**config)
    return diffusers.ZImagePipeline(**with_lm(network, lm("Qwen3")))


FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "aura-flow": aura_flow,
    "bria": bria,
    "bria-fibo": bria_fibo,
    "chroma": chroma,
    "cogview3": cogview3,
    "cogview4": cogview4,
    "depth-to-image": depth_to_image,
    "ernie": ernie,
    "flux2-klein": flux2_klein,
    "flux-fill": flux_fill,
    "flux-kontext": flux_kontext,
    "hidream": hidream,
    "hunyuan-dit": hunyuan_dit,
    "hunyuan-image": hunyuan_image,
    "if": if_,
    "kandinsky3": kandinsky3,
    "kandinsky5": kandinsky5,
    "krea2": krea2,
    "longcat": longcat,
    "lumina2": lumina2,
    "omnigen": omnigen,
    "ovis": ovis,
    "pixart-sigma": pixart_sigma,
    "qwen-image": qwen_image,
    "refiner": refiner,
    "sana": sana,
    "sana-sprint": sana_sprint,
    "z-image": z_image,
}
