"""What the functions of tasks share; tests/worker/making/test_tasks.py has them at work."""

from pathlib import Path

import numpy as np
import torch

from tests import tiny
from tests.adapter_kit import asked
from worker.gathering.gather import Gather
from worker.loading.schedulers import NOBODY
from worker.making.work import Work, arguments_of, call_with_prompt, view


def test_a_call_follows_the_prompt_at_the_size_and_number_asked_for(tmp_path: Path) -> None:
    model = tiny.load("sd15", tmp_path, Gather())
    work = Work(asked(model, num_images=2, guidance_rescale=0.5, width=24), model, {}, NOBODY)
    pipeline = view(work.request, model)
    arguments, warnings = arguments_of(work, pipeline, clip_skip=None)
    assert (arguments["width"], arguments["height"]) == (24, 16)
    assert arguments["num_images_per_prompt"] == 2
    assert arguments["guidance_rescale"] == 0.5
    assert "image" not in arguments
    assert warnings == []
    with torch.no_grad():
        latents = work.output(pipeline, {**arguments, "output_type": "latent"})
        pictures = call_with_prompt(work, view(work.request, model)).pictures
    assert latents.shape == (2, 4, 8, 12)
    assert [(each.shape, each.dtype) for each in pictures] == [((16, 24, 3), np.uint8)] * 2
