import diffusers
import pytest

from worker.loading.calls import defaults, guidance_argument, latents, multiple, network


@pytest.mark.parametrize(
    ("name", "guidance"),
    [
        ("StableDiffusionPipeline", "guidance_scale"),
        ("FluxPipeline", "guidance_scale"),  # true_cfg_scale is off unless asked for
        ("QwenImagePipeline", "true_cfg_scale"),
        ("QwenImage21Pipeline", "true_cfg_scale"),
        ("HunyuanImagePipeline", "distilled_guidance_scale"),
        ("LDMPipeline", None),
    ],
)
def test_guidance_is_known_under_all_its_names(name: str, guidance: str | None) -> None:
    assert guidance_argument(getattr(diffusers, name)) == guidance


@pytest.mark.parametrize(
    ("name", "steps", "guidance", "side"),
    [
        ("StableDiffusionPipeline", 50, 7.5, None),  # its network says the size
        ("FluxPipeline", 28, 3.5, 1024),  # 128 latents, each for 8 pixels
        ("BriaPipeline", 30, 5, 1024),  # 64 latents, each for 16
        ("ZImagePipeline", 50, 5.0, 1024),  # in the body of its call
        ("AuraFlowPipeline", 50, 3.5, 1024),  # in its signature; its network says 512
        ("SanaPipeline", 20, 4.5, None),  # 512 to 4096, as the network says
        ("QwenImagePipeline", 50, 4.0, 1024),
        ("Ideogram4Pipeline", 48, 7.0, 2048),
        ("LDMPipeline", 50, None, None),
    ],
)
def test_defaults_are_what_the_pipeline_takes_itself(
    name: str, steps: int, guidance: float | None, side: int | None
) -> None:
    own = defaults(getattr(diffusers, name))
    assert own["num_inference_steps"] == steps
    assert own.get("guidance_scale") == guidance
    assert (own.get("width"), own.get("height")) == (side, side)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("FluxImg2ImgPipeline", "vae"),
        ("StableDiffusion3Img2ImgPipeline", "vae"),
        ("StableDiffusionImg2ImgPipeline", 4),
        ("ZImageImg2ImgPipeline", 4),  # its VAE has 16
        ("QwenImageImg2ImgPipeline", None),  # of a VAE for videos
        ("Kandinsky3Img2ImgPipeline", None),
        ("IFImg2ImgPipeline", None),
        ("SanaSprintImg2ImgPipeline", None),
    ],
)
def test_a_class_says_which_latents_it_tells_from_pictures(
    name: str, channels: int | str | None
) -> None:
    assert latents(getattr(diffusers, name)) == channels


@pytest.mark.parametrize(
    ("name", "latents"),
    [
        ("FluxPipeline", 2),
        ("ZImagePipeline", 2),
        ("HunyuanImagePipeline", 2),
        ("Kandinsky3Pipeline", 64),
        ("StableDiffusionPipeline", None),
        ("StableDiffusion3Pipeline", None),  # patches of its network
    ],
)
def test_a_class_says_of_how_many_latents_sizes_are_multiples(
    name: str, latents: int | None
) -> None:
    assert multiple(getattr(diffusers, name)) == latents


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("StableDiffusionPipeline", "UNet2DConditionModel"),
        ("FluxPipeline", "FluxTransformer2DModel"),
        ("LDMPipeline", "UNet2DModel"),
    ],
)
def test_a_pipeline_names_its_network(name: str, cls: str) -> None:
    assert network(getattr(diffusers, name)) == cls
