from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionPipeline

from darkroom.errors import InvalidOutputError, UnsupportedError
from darkroom.request import ImageToImage, TextToImage
from tests import tiny
from worker.loading.schedulers import NOBODY, Schedulers
from worker.making.pipeline_call import (
    call_pipeline,
    generators,
    parameters_of,
    pixels,
    steps_of,
)


@pytest.fixture
def pipeline() -> StableDiffusionPipeline:
    made = tiny.sd15()
    made.set_progress_bar_config(disable=True)
    return made


def asked(**fields: Any) -> TextToImage:
    return TextToImage(
        **{
            "task": "text-to-image",
            "model": "sd15",
            "prompt": "a cat",
            "width": 16,
            "height": 16,
            "num_inference_steps": 2,
            "scheduler": "PNDMScheduler",
            "seed": 1,
            "num_images": 1,
            **fields,
        }
    )


def made_of(pipeline: Any, request: TextToImage, **arguments: Any) -> tuple[np.ndarray, ...]:
    with torch.no_grad():
        return pixels(call_pipeline(request, pipeline, NOBODY, arguments))


def test_pictures_are_bytes_with_channels_last(pipeline: StableDiffusionPipeline) -> None:
    [picture] = made_of(pipeline, asked(), prompt="a cat", width=16, height=16)
    assert (picture.shape, picture.dtype) == ((16, 16, 3), np.uint8)


def test_an_argument_that_it_does_not_take_is_unsupported(
    pipeline: StableDiffusionPipeline,
) -> None:
    with pytest.raises(UnsupportedError, match="StableDiffusionPipeline takes no noise_level"):
        made_of(pipeline, asked(), prompt="a cat", noise_level=20)


@pytest.mark.parametrize(
    ("scheduler", "options", "drawn"),
    [
        ("TCDScheduler", {}, 0.3),
        ("TCDScheduler", {"eta": 1.0}, 1.0),
        ("DDIMScheduler", {"eta": 0.5}, 0.5),
        ("DDIMScheduler", {}, 0.0),
    ],
)
def test_steps_draw_as_much_noise_as_the_request_says(
    scheduler: str, options: dict[str, float], drawn: float, pipeline: StableDiffusionPipeline
) -> None:
    """Stable Diffusion's pipelines pass eta on, 0 unless they are told."""
    request = asked(scheduler=scheduler, scheduler_options=options, num_inference_steps=4)
    pipeline.scheduler = Schedulers(pipeline.scheduler).new(scheduler)
    arguments = {"prompt": "a cat", "width": 16, "height": 16, "guidance_scale": 1.0}
    [made] = made_of(pipeline, request, **arguments)
    with torch.no_grad():
        plain = pipeline(
            **arguments,
            num_inference_steps=4,
            generator=generators(1, 1),
            eta=drawn,
            output_type="np",
        ).images[0]
    assert np.array_equal(made, np.round(plain * 255).astype(np.uint8))


def test_what_every_request_has_is_left_out_where_it_is_not_taken() -> None:
    pipeline = tiny.ldm()
    pipeline.set_progress_bar_config(disable=True)
    arguments = {"batch_size": 1, "width": 16, "height": 16, "guidance_scale": 5.0}
    assert not {"width", "height", "guidance_scale"} & parameters_of(pipeline).keys()
    assert len(made_of(pipeline, asked(), **arguments)) == 1


def test_what_its_own_check_refuses_is_unsupported_in_its_words(
    pipeline: StableDiffusionPipeline,
) -> None:
    with pytest.raises(UnsupportedError, match="divisible by 8 but are 20 and 16"):
        made_of(pipeline, asked(), prompt="a cat", width=16, height=20)


def test_other_errors_stay_what_they_are_and_the_scheduler_what_it_was(
    pipeline: StableDiffusionPipeline,
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("of the network's own")

    pipeline.unet.register_forward_pre_hook(fail)
    with pytest.raises(ValueError, match="of the network's own"):
        made_of(pipeline, asked(), prompt="a cat", width=16, height=16)
    assert "step" not in vars(pipeline.scheduler)


def test_numbers_that_are_none_are_no_picture(pipeline: StableDiffusionPipeline) -> None:
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(InvalidOutputError, match="not numbers"):
        made_of(pipeline, asked(), prompt="a cat", width=16, height=16)


def test_steps_draw_the_noise_of_their_own_picture() -> None:
    """LDM's pipeline gives its scheduler no generator; alone and beside another the same."""
    pipeline = tiny.ldm()
    pipeline.scheduler = DDPMScheduler(**tiny.BETAS)
    pipeline.set_progress_bar_config(disable=True)
    both = made_of(pipeline, asked(num_images=2, seed=5), batch_size=2)
    [again] = made_of(pipeline, asked(seed=6), batch_size=1)
    assert np.abs(both[1].astype(int) - again.astype(int)).max() <= 1
    assert np.abs(both[1].astype(int) - both[0].astype(int)).max() > 1


def test_each_picture_has_noise_of_its_own_seed() -> None:
    first, second = (torch.randn(3, generator=each) for each in generators(7, 2))
    assert torch.equal(second, torch.randn(3, generator=torch.Generator().manual_seed(8)))
    assert not torch.equal(first, second)


def test_strength_leaves_out_the_first_steps() -> None:
    fields = asked().model_dump(exclude={"hires"}) | {
        "task": "image-to-image",
        "image": f"file_{'0' * 64}",
    }
    request = ImageToImage(**fields | {"strength": 0.3, "num_inference_steps": 10})
    assert steps_of(request) == 3
    assert steps_of(asked(num_inference_steps=10)) == 10


def test_what_a_scheduler_cannot_do_is_unsupported_since_it_never_will(
    pipeline: StableDiffusionPipeline,
) -> None:
    pipeline.scheduler = DDIMScheduler(**tiny.BETAS)
    with pytest.raises(UnsupportedError, match="cannot make 1001 steps with DDIMScheduler"):
        made_of(
            pipeline,
            asked(num_inference_steps=1001, scheduler="DDIMScheduler"),
            prompt="a cat",
            width=16,
            height=16,
        )
