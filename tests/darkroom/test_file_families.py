import pytest

from darkroom.file_families import Contents, contents_of, fits
from darkroom.weight_headers import Header, Tensor
from tests import published
from tests.published import Shapes

FLUX = {"hidden": 3072, "heads": 24, "depth": 19, "single": 38, "text": 4096, "pooled": 768}


def contents(shapes: Shapes, dtype: str = "F16", **metadata: str) -> Contents:
    tensors = {name: Tensor(dtype, shape, 2) for name, shape in shapes.items()}
    return contents_of(Header(tensors, {k.replace("__", "."): v for k, v in metadata.items()}))


@pytest.mark.parametrize(
    ("made", "family", "parts"),
    [
        (published.SD1, "sd1", {"unet", "vae", "text_encoder"}),
        (published.SD1_INPAINT, "sd1-inpaint", {"unet", "vae", "text_encoder"}),
        (published.SD2, "sd2", {"unet", "vae", "text_encoder"}),
        (published.SD2_INPAINT, "sd2-inpaint", {"unet", "vae", "text_encoder"}),
        (published.SDXL, "sdxl", {"unet", "vae", "text_encoder", "text_encoder_2"}),
        (published.SDXL_INPAINT, "sdxl-inpaint", {"unet", "vae", "text_encoder", "text_encoder_2"}),
        (published.SDXL_REFINER, "sdxl-refiner", {"unet", "vae", "text_encoder_2"}),
    ],
)
def test_a_checkpoint_says_its_family_and_what_is_in_it(
    made: published.Checkpoint, family: str, parts: set[str]
) -> None:
    found = contents(published.checkpoint(made))
    assert found.kind.name == "checkpoint"
    assert found.families == (family,)
    assert set(found.parts) == parts
    assert found.dtype == "F16"
    assert not found.is_quantized


@pytest.mark.parametrize("mark", ["edm_mean", "edm_vpred.sigma_max"])
def test_an_sdxl_of_another_noise_is_no_sdxl(mark: str) -> None:
    found = contents(published.checkpoint(published.SDXL) | {mark: (4,)})
    assert found.families == ("sdxl-edm",)


@pytest.mark.parametrize("start", ["model.diffusion_model.", ""])
def test_a_unet_alone_says_its_family(start: str) -> None:
    found = contents(published.prefixed(start, published.unet(published.SDXL.unet)))
    assert (found.kind.name, found.families, found.parts) == ("unet", ("sdxl",), {})


@pytest.mark.parametrize("start", ["model.diffusion_model.", ""])
@pytest.mark.parametrize(
    ("into", "has_guidance", "family"),
    [
        (64, True, "flux-dev"),
        (64, False, "flux-schnell"),
        (384, True, "flux-fill"),
        (128, True, "flux-control"),
    ],
)
def test_a_flux_says_which_it_is(into: int, has_guidance: bool, family: str, start: str) -> None:
    shapes = published.flux(**FLUX, into=into, has_guidance=has_guidance)
    found = contents(published.prefixed(start, shapes))
    assert (found.kind.name, found.families) == ("transformer", (family,))


def test_a_whole_flux_names_its_parts() -> None:
    shapes = published.prefixed("model.diffusion_model.", published.flux(**FLUX, into=64))
    shapes |= published.prefixed("vae.", published.vae(published.Vae(z_channels=16)))
    shapes |= {"text_encoders.clip_l.transformer.text_model.x": (1,)}
    shapes |= {"text_encoders.t5xxl.transformer.encoder.block.0.x": (1,)}
    found = contents(shapes, "F8_E4M3")
    assert found.kind.name == "checkpoint"
    assert found.family == "flux-dev"
    assert set(found.parts) == {"transformer", "vae", "text_encoder", "text_encoder_2"}
    assert found.is_quantized


TRANSFORMERS = {
    "sd3": {"joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)},
    "sd35-medium": {"joint_blocks.0.x_block.attn2.qkv.weight": (4608, 1536)},
    "sd35-large": {"joint_blocks.37.x_block.attn.qkv.weight": (7296, 2432)},
    "qwen-image": {
        "transformer_blocks.0.img_mod.1.weight": (18432, 3072),
        "txt_norm.weight": (3584,),
        "img_in.weight": (3072, 64),
    },
    "z-image": {
        "x_embedder.weight": (3840, 64),
        "cap_embedder.0.weight": (2560,),
        "layers.0.adaLN_modulation.0.weight": (15360, 256),
        "layers.0.attention.qkv.weight": (11520, 3840),
    },
    "lumina2": {
        "x_embedder.weight": (2304, 64),
        "cap_embedder.0.weight": (2304,),
        "layers.0.adaLN_modulation.1.weight": (9216, 1024),
        "layers.0.attention.qkv.weight": (3840, 2304),
    },
    "flux2-dev": {
        "double_blocks.0.img_attn.qkv.weight": (18432, 6144),
        "double_stream_modulation_img.lin.weight": (36864, 6144),
        "img_in.weight": (6144, 128),
    },
    "flux2-klein": {
        "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
        "double_stream_modulation_img.lin.weight": (18432, 3072),
        "img_in.weight": (3072, 128),
    },
    "chroma": {
        "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
        "distilled_guidance_layer.in_proj.weight": (5120, 64),
    },
    "auraflow": {"double_layers.0.attn.w1q.weight": (3072, 3072)},
    "sana": {"blocks.0.mlp.inverted_conv.conv.weight": (1, 1), "blocks.0.attn.qkv.weight": (1, 1)},
    "pixart": {
        "blocks.0.cross_attn.q_linear.weight": (1152, 1152),
        "y_embedder.y_proj.fc1.weight": (1152, 4096),
    },
    "video": {"patch_embedding.weight": (5120, 16), "blocks.0.self_attn.q.weight": (5120, 5120)},
}


@pytest.mark.parametrize("family", TRANSFORMERS)
@pytest.mark.parametrize("start", ["model.diffusion_model.", ""])
def test_a_transformer_says_its_family(family: str, start: str) -> None:
    found = contents(published.prefixed(start, TRANSFORMERS[family]))
    assert (found.kind.name, found.families) == ("transformer", (family,))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            1,
        ),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", 1),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight", 1),
        ("unet.mid_block.x.attn2.processor.to_k_lora.down.weight", 1),
        ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k.hada_w1_b", 1),
        ("ip_adapter.1.to_k_ip.weight", 0),
    ],
)
@pytest.mark.parametrize(("width", "base"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl")])
def test_an_adapter_says_its_family_by_the_width_of_the_text(
    name: str, family: int, width: int, base: str
) -> None:
    other = name.replace("_down", "_up").replace(".down", ".up").replace("_A", "_B")
    shapes = {other: (320, 4)} if family and other != name else {}
    found = contents(shapes | {name: (4 if family else 320, width)})
    assert found.kind.name == ("lora" if family else "ip_adapter")
    assert found.families == (base,)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "sdxl"),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "flux-dev"),
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", "flux-dev"),
        ("diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight", "sd3"),
        ("transformer_blocks.0.img_mlp.net.2.lora_A.default.weight", "qwen-image"),
        ("diffusion_model.layers.0.attention.to_q.lora_A.weight", "z-image"),
    ],
)
def test_a_lora_says_its_family_by_its_layers(name: str, family: str) -> None:
    assert contents({name: (4, 32)}).family == family


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"ss_base_model_version": "sd_v1"}, "sd1"),
        ({"modelspec__architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec__architecture": "flux-1-dev/lora"}, "flux-dev"),
    ],
)
def test_a_lora_may_say_what_it_was_trained_on(metadata: dict[str, str], family: str) -> None:
    found = contents({"lora_unet_x.lora_down.weight": (4, 320)}, **metadata)
    assert found.families == (family,)


@pytest.mark.parametrize(
    ("shapes", "kind", "family"),
    [
        (published.vae(published.Vae()), "vae", "sd1"),
        (published.prefixed("first_stage_model.", published.vae(published.Vae())), "vae", "sd1"),
        (published.vae(published.Vae(z_channels=16)), "vae", "flux-dev"),
        ({"decoder.middle.0.residual.0.gamma": (384, 1, 1, 1)}, "vae", "qwen-image"),
        (published.controlnet(published.SD1.unet), "controlnet", "sd1"),
        (published.controlnet(published.SD2.unet), "controlnet", "sd2"),
        ({"controlnet_x_embedder.weight": (3072, 64)}, "controlnet", "flux-dev"),
        ({"emb_params": (4, 768)}, "embedding", "sd1"),
        ({"<cat>": (1024,)}, "embedding", "sd2"),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "embedding", "sdxl"),
        ({"adapter.body.0.block1.weight": (1,)}, "t2i_adapter", None),
        ({"something": (4,)}, "weights", None),
        ({}, "weights", None),
    ],
)
def test_other_kinds_are_known_too(shapes: Shapes, kind: str, family: str | None) -> None:
    found = contents(shapes)
    assert (found.kind.name, found.family) == (kind, family)


def test_a_file_may_say_what_its_network_predicts() -> None:
    shapes = published.checkpoint(published.SDXL)
    assert contents(shapes).prediction is None
    assert contents(shapes | {"v_pred": (0,)}).prediction == "v_prediction"
    assert contents(shapes, modelspec__prediction_type="v").prediction == "v_prediction"
    assert contents(shapes, ss_v_parameterization="True").prediction == "v_prediction"
    assert contents(shapes, modelspec__prediction_type="epsilon").prediction == "epsilon"
    assert not contents(shapes).has_zero_snr
    assert contents(shapes | {"v_pred": (0,), "ztsnr": (0,)}).has_zero_snr


def test_shapes_that_no_network_has_are_no_fault() -> None:
    shapes = dict.fromkeys(published.checkpoint(published.SD1), ())
    found = contents(shapes)
    assert (found.kind.name, found.families) == ("checkpoint", ())


def test_adapters_fit_all_of_a_group() -> None:
    assert fits(["flux-schnell"], "flux-dev")
    assert fits(["sd1", "sd35-large"], "sd3")
    assert fits(["sdxl"], "sdxl-inpaint")
    assert not fits(["flux-dev"], "flux2-dev")
    assert not fits(["sdxl"], "sdxl-refiner")
    assert not fits(["sdxl"], None)
