from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.catalog import Catalog
from darkroom.control_maps import canny
from darkroom.errors import InvalidOutputError, UnsupportedError
from darkroom.input_images import IMAGE, MASK, Place, control, input_images
from darkroom.model_card import ModelCard
from darkroom.request import Request
from darkroom.tasks import TASKS
from tests import tiny
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.adapters import Adapters
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import Look, Schedulers
from worker.making import tasks

ROOT = Path(__file__).parents[3]
NOWHERE = "file_" + "0" * 64
PROMPTED = ("text-to-image", "image-to-image", "inpaint")
TASKS_OF = {
    **{family: PROMPTED for family in tiny.FAMILIES if family != "lcm"},
    "lcm": PROMPTED[:2],
    "sd15-inpaint": ("inpaint",),
    "sdxl-inpaint": ("inpaint",),
    "gligen": ("layout-to-image", *PROMPTED),
    "dit": ("class-to-image",),
    "ldm": ("unconditional",),
    "super-resolution": ("upscale",),
    "upscaler": ("upscale",),
}
ALL = [(family, task) for family, tasks_ in TASKS_OF.items() for task in tasks_]
# Each adds noise at every step.
STOCHASTIC = {"dit": "DDPMScheduler", "super-resolution": "DDPMScheduler"}
SIZE = (16, 16)


class Loaded(dict[str, LoadedModel]):
    """Models by family, each loaded when it is first asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.gathers: dict[str, Gather] = {}

    def __missing__(self, family: str) -> LoadedModel:
        self.gathers[family] = Gather()
        self[family] = tiny.load(family, self.root / family, self.gathers[family])
        return self[family]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with torch.no_grad():
        yield Loaded(tmp_path_factory.mktemp("models"))


@pytest.fixture
def model(models: Loaded) -> LoadedModel:
    return models["sd15"]


def noise(width: int, height: int, seed: int = 1) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


@pytest.fixture
def photo() -> Image.Image:
    return noise(30, 20)


def masked(size: tuple[int, int] = SIZE, box: tuple[int, ...] = (4, 4, 10, 10)) -> Image.Image:
    """White in the box."""
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask


class Heard:
    """Keeps all that is told of the steps of a job."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.latents: list[torch.Tensor] = []

    def step(self, i: int, n: int, look: Look, /) -> None:
        self.steps.append((i, n))
        self.latents.append(look())


def request(model: LoadedModel, *, task: str = "text-to-image", **fields: Any) -> Request:
    cls = TASKS[task].request
    usual = {
        "prompt": "a cat",
        "width": 16,
        "height": 16,
        "num_inference_steps": 3,
        "guidance_scale": 5.0,
        "scheduler": model.schedulers.own,
        "seed": 1,
        "num_images": 1,
        "image": NOWHERE,
        "mask_image": NOWHERE,
        "mask_blur": 0,
        "strength": 0.7,
        "class_label": 7,
        "regions": [{"phrase": "a hat", "box": [0.0, 0.0, 0.5, 0.5]}],
    }
    asked = {name: value for name, value in usual.items() if name in cls.model_fields}
    return cls.model_validate({"task": task, "model": model.record.name, **asked, **fields})


def job(
    model: LoadedModel, inputs: dict[Place, Image.Image] | None = None, **fields: Any
) -> tuple[Request, dict[Place, Image.Image]]:
    """A request and pictures for all that it names, unless they are given."""
    asked = request(model, **fields)
    given = {IMAGE: noise(*SIZE), MASK: masked()} | (inputs or {})
    places = input_images(asked.model_dump())
    return asked, {place: given.get(place, noise(*SIZE, seed=9)) for place in places}


def made(
    model: LoadedModel, inputs: dict[Place, Image.Image] | None = None, **fields: Any
) -> tasks.Outcome:
    asked, given = job(model, inputs, **fields)
    with torch.no_grad():
        return tasks.run(asked, model, given)


def picture(model: LoadedModel, inputs: Any = None, **fields: Any) -> np.ndarray:
    return made(model, inputs, **fields).pictures[0]


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(("family", "task"), ALL)
def test_pictures_have_the_size_and_number_asked_for(
    family: str, task: str, models: Loaded
) -> None:
    fields: dict[str, Any] = {"task": task, "num_images": 2}
    size, inputs = SIZE, {}
    if task in (*PROMPTED, "layout-to-image"):
        size, inputs = (24, 16), {IMAGE: noise(24, 16), MASK: masked((24, 16))}
    if task == "upscale":
        size, inputs = (28, 20), {IMAGE: noise(7, 5)}
    fields |= {"width": size[0], "height": size[1]}
    outcome = made(models[family], inputs, **fields)
    assert [each.shape for each in outcome.pictures] == [(size[1], size[0], 3)] * 2
    assert all(each.dtype == np.uint8 for each in outcome.pictures)
    assert apart(*outcome.pictures) > 0
    assert outcome.warnings == ()


@pytest.mark.parametrize(("family", "task"), ALL)
def test_each_picture_of_a_job_is_the_one_its_own_seed_makes(
    family: str, task: str, models: Loaded
) -> None:
    model = models[family]
    own = model.schedulers.own
    ancestral = "EulerAncestralDiscreteScheduler"
    scheduler = ancestral if ancestral in model.schedulers.names else own
    asked = {"task": task, "scheduler": STOCHASTIC.get(family, scheduler)}
    torch.manual_seed(1)
    several = made(model, **asked, seed=7, num_images=3).pictures
    torch.manual_seed(2)
    for index, each in enumerate(several):
        assert apart(each, picture(model, **asked, seed=7 + index)) <= 1
    assert apart(several[0], several[1]) > 1


def company(
    models: Loaded, family: str, task: str, neighbours: int, **fields: Any
) -> tuple[tuple[np.ndarray, ...], frozenset[int]]:
    """Pictures and row counts of a deterministic job that starts among so many others."""

    def start(**fields: Any) -> Callable[[], tasks.Outcome]:
        asked, given = job(models[family], task=task, **fields)
        return lambda: tasks.run(asked, models[family], given)

    torch.manual_seed(neighbours)
    first, gather = start(**fields, deterministic=True), models.gathers[family]
    gather.start("mine", first, alone=True)
    joined = gather.joined_calls
    ended = run_all(gather, {seed: start(seed=seed) for seed in range(neighbours)})
    assert (gather.joined_calls > joined) == (neighbours > 1)
    return values(ended)["mine"].pictures, ended["mine"].row_counts


@pytest.mark.parametrize(("family", "task"), ALL)
def test_a_deterministic_job_has_the_same_bits_in_every_company_and_number(
    family: str, task: str, models: Loaded
) -> None:
    fields: dict[str, Any] = {}
    if family in STOCHASTIC:
        fields["scheduler"] = STOCHASTIC[family]
    by_itself, rows = company(models, family, task, 0, seed=5, **fields)
    several, rows_of_each = company(models, family, task, 3, seed=4, num_images=2, **fields)
    assert np.array_equal(by_itself[0], several[1])
    assert not np.array_equal(several[0], several[1])
    assert rows == rows_of_each


@pytest.mark.parametrize("name", Schedulers(tiny.sd15().scheduler).names)
def test_a_seed_makes_the_same_picture_again_with_every_scheduler(
    name: str, model: LoadedModel
) -> None:
    for fields in ({}, {"task": "image-to-image"}, {"task": "inpaint"}):
        torch.manual_seed(1)
        first = made(model, scheduler=name, seed=7, **fields)
        torch.manual_seed(2)
        again = made(model, scheduler=name, seed=7, **fields)
        other = made(model, scheduler=name, seed=8, **fields)
        assert apart(first.pictures[0], again.pictures[0]) == 0
        assert apart(first.pictures[0], other.pictures[0]) > 0


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_few_steps_work_with_every_scheduler(family: str, steps: int, models: Loaded) -> None:
    for name in models[family].schedulers.names:
        assert made(models[family], scheduler=name, num_inference_steps=steps).pictures


def test_prompt_negative_prompt_and_guidance_matter(model: LoadedModel) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"prompt": "a dog"},
        {"negative_prompt": "dark"},
        {"guidance_scale": 9.0},
        {"guidance_scale": 1.0},
        {"guidance_rescale": 0.7},
        {"clip_skip": 1},
    ]
    pictures = [picture(model, **fields).tobytes() for fields in asked]
    assert len(set(pictures)) == len(asked)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_distilled_model_makes_pictures_in_few_steps_without_guidance(
    steps: int, models: Loaded
) -> None:
    turbo = models["sdxl-turbo"]
    plain, guided = (
        picture(turbo, num_inference_steps=steps, guidance_scale=scale) for scale in (0.0, 5.0)
    )
    assert apart(plain, guided) > 0


@pytest.mark.parametrize("task", ["image-to-image", "inpaint"])
def test_strength_says_how_much_of_the_picture_stays(
    task: str, model: LoadedModel, photo: Image.Image
) -> None:
    start = np.asarray(photo.resize(SIZE, Image.Resampling.LANCZOS))
    inputs = {IMAGE: photo}
    kept = made(model, inputs, task=task, strength=0.0, num_images=2)
    assert [apart(each, start) for each in kept.pictures] == [0, 0]
    assert "no step" in kept.warnings[-1]
    weak, strong = (
        picture(model, inputs, task=task, strength=strength, num_inference_steps=10)
        for strength in (0.1, 1.0)
    )
    assert apart(weak, strong) > 0


# --- Inpainting

PAINTERS = [family for family, tasks_ in TASKS_OF.items() if "inpaint" in tasks_]


@pytest.mark.parametrize("family", PAINTERS)
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_what_the_mask_leaves_black_is_kept_to_the_bit(
    family: str, strength: float, models: Loaded, photo: Image.Image
) -> None:
    start = np.asarray(photo.resize(SIZE, Image.Resampling.LANCZOS))
    for blur in (0, 1):
        fields = {"task": "inpaint", "strength": strength, "mask_blur": blur}
        painted = picture(models[family], {IMAGE: photo}, **fields)
        changed = (painted != start).any(axis=-1)
        assert changed[5:9, 5:9].all()
        reach = 4 - 3 * blur, 10 + 3 * blur
        changed[reach[0] : reach[1], reach[0] : reach[1]] = False
        assert not changed.any()


@pytest.mark.parametrize("family", ["sd15-inpaint", "sdxl-inpaint"])
def test_a_network_with_nine_channels_sees_the_mask_and_nothing_under_it(
    family: str, models: Loaded
) -> None:
    fields = {"task": "inpaint", "strength": 1.0}
    start = noise(*SIZE)
    hidden = Image.composite(noise(*SIZE, seed=5), start, masked())
    seen = Image.composite(start, noise(*SIZE, seed=5), masked())
    first, other, third = (
        picture(models[family], {IMAGE: image}, **fields)[4:10, 4:10]
        for image in (start, hidden, seen)
    )
    assert apart(first, other) == 0
    assert apart(first, third) > 0


def test_a_picture_that_is_stretched_is_told_of_once(model: LoadedModel) -> None:
    fields = {"task": "image-to-image", "num_images": 2, "deterministic": True}
    [told] = made(model, {IMAGE: noise(32, 16)}, **fields).warnings
    assert told.startswith("image: its 32 x 16 pixels are stretched")


def test_a_mask_without_white_leaves_the_picture_alone(model: LoadedModel) -> None:
    kept = made(model, {MASK: Image.new("L", (5, 5), 100)}, task="inpaint", num_images=2)
    assert [apart(each, np.asarray(noise(*SIZE))) for each in kept.pictures] == [0, 0]
    assert "nothing to repaint" in kept.warnings[0]


def test_a_mask_without_black_is_told_of(model: LoadedModel) -> None:
    white = made(model, {MASK: Image.new("L", (5, 5), 255)}, task="inpaint", strength=1.0)
    assert white.warnings == ("The mask selects the whole picture: nothing of it is kept.",)
    assert made(model, {MASK: masked()}, task="inpaint", strength=1.0).warnings == ()


def test_padding_is_filled_around_the_picture(model: LoadedModel) -> None:
    fields = {"task": "inpaint", "mask_image": None, "width": 24, "strength": 1.0}
    start = noise(*SIZE)
    padding = {"left": 2, "top": 0, "right": 6, "bottom": 0}
    wide = picture(model, {IMAGE: start}, **fields, padding=padding)
    assert apart(wide[:, 2:18], np.asarray(start)) == 0
    for column in (0, 20, 23):
        assert apart(wide[:, column], np.asarray(start)[:, 0 if column == 0 else -1]) > 0


# --- Controls


def controlled(models: Loaded, family: str) -> LoadedModel:
    torch.manual_seed(6)
    config = tiny.SDXL if family.startswith("sdxl") else {}
    make = tiny.sd3_controlnet if family == "sd3" else lambda: tiny.controlnet(**config)
    nets = {"edges": make(), "pose": make()}
    return replace(models[family], adapters=Adapters(controlnets=nets))


CONTROLLED = [
    (family, task)
    for family in ("sd15", "sdxl", "sd15-inpaint")
    for task in PROMPTED
    if task in TASKS_OF[family]
] + [("sd3", "text-to-image")]


@pytest.mark.parametrize(("family", "task"), CONTROLLED)
def test_controls_hold_the_picture_by_their_scales(family: str, task: str, models: Loaded) -> None:
    model = controlled(models, family)
    edges, pose = ({"name": name, "image": NOWHERE} for name in ("edges", "pose"))

    def held(*controls: dict[str, Any], seed: int = 0) -> np.ndarray:
        torch.manual_seed(seed)
        return picture(model, task=task, controls=list(controls))

    plain, one, other = held(), held(edges), held(pose)
    assert min(apart(plain, one), apart(plain, other), apart(one, other)) > 1
    assert apart(held(edges, seed=1), one) == 0
    assert apart(held(edges | {"scale": 0.0}), plain) <= 1
    assert apart(held(edges, pose | {"scale": 0.0}), one) <= 1
    both = held(edges, pose)
    assert min(apart(both, one), apart(both, other)) > 1
    assert apart(held(edges, pose | {"end": 0.5}), both) > 0
    assert apart(held(edges | {"start": 0.9}), plain) <= 1


def test_a_controlled_picture_is_the_one_its_own_seed_makes(models: Loaded) -> None:
    for family in ("sd15", "sd3"):
        model = controlled(models, family)
        asked = {"controls": [{"name": "edges", "image": NOWHERE}] * 2}
        both = made(model, **asked, seed=7, num_images=2).pictures
        assert apart(both[1], picture(model, **asked, seed=8)) <= 1


def test_edges_are_found_where_they_are_asked_for(models: Loaded) -> None:
    model = controlled(models, "sd15")
    drawing = Image.new("RGB", (64, 48), (255, 255, 255))
    drawing.paste((0, 0, 0), (16, 12, 48, 36))
    found = canny(drawing.resize(SIZE, Image.Resampling.LANCZOS))
    edges = {"name": "edges", "image": NOWHERE}
    asked, ready, raw = (
        picture(model, {control(0): image}, controls=[edges | more])
        for image, more in ((drawing, {"preprocess": "canny"}), (found, {}), (drawing, {}))
    )
    assert apart(asked, ready) == 0
    assert apart(asked, raw) > 0


def test_controls_of_a_part_see_that_part_of_their_pictures(models: Loaded) -> None:
    model, edges = controlled(models, "sd15"), {"name": "edges", "image": NOWHERE}
    whole = (32, 32)
    given = {IMAGE: noise(*whole), MASK: masked(whole, (4, 4, 12, 12))}
    seen = noise(*whole, seed=9)
    beyond, within = seen.copy(), seen.copy()
    beyond.paste("white", (16, 0, 32, 32))
    within.paste("white", (4, 4, 12, 12))
    fields = {"task": "inpaint", "strength": 1.0, "padding_mask_crop": 4, "controls": [edges]}
    one, same, other = (
        picture(model, given | {control(0): each}, **fields) for each in (seen, beyond, within)
    )
    assert apart(one, same) == 0
    assert apart(one, other) > 0


def test_controls_that_a_task_or_a_model_cannot_take_are_unsupported(models: Loaded) -> None:
    edges = {"name": "edges", "image": NOWHERE}
    with pytest.raises(UnsupportedError, match="no ControlNet 'edges'"):
        made(models["sd15"], controls=[edges])
    with pytest.raises(UnsupportedError, match="no controls for image-to-image"):
        made(controlled(models, "sd3"), task="image-to-image", controls=[edges])
    with pytest.raises(UnsupportedError, match="control guidance"):
        made(controlled(models, "sd15"), controls=[edges | {"start": 0.8, "end": 0.2}])


# --- Layouts, classes, nothing


def test_regions_say_what_is_where(models: Loaded) -> None:
    model = models["gligen"]
    hat, cat = (
        {"phrase": "a hat", "box": [0, 0, 0.5, 0.5]},
        {"phrase": "a cat", "box": [0, 0, 1, 1]},
    )
    asked = [[hat], [hat | {"phrase": "a dog"}], [hat | {"box": [0.5, 0.5, 1, 1]}], [hat, cat]]
    pictures = [picture(model, task="layout-to-image", regions=each) for each in asked]
    pictures.append(picture(model))
    assert len({each.tobytes() for each in pictures}) == 5
    with pytest.raises(UnsupportedError, match="regions/1/phrase"):
        made(model, task="layout-to-image", regions=[hat, cat | {"phrase": "cat " * 16}])


def test_a_class_is_one_that_the_model_was_trained_on(models: Loaded) -> None:
    model = models["dit"]
    pictures = [
        picture(model, task="class-to-image", **fields).tobytes()
        for fields in ({}, {"class_label": 8}, {"guidance_scale": 1.0})
    ]
    assert len(set(pictures)) == 3
    with pytest.raises(UnsupportedError, match="class_label must be less than 1000"):
        made(model, task="class-to-image", class_label=1000)


@pytest.mark.parametrize(("family", "task"), [("dit", "class-to-image"), ("ldm", "unconditional")])
def test_a_model_of_one_size_makes_no_other(family: str, task: str, models: Loaded) -> None:
    outcome = made(models[family], task=task, width=24)
    assert outcome.pictures[0].shape == (16, 16, 3)
    assert "16x16 only" in outcome.warnings[0]


# --- Beyond what the demo model was trained for


@pytest.fixture(scope="module")
def emoji() -> LoadedModel:
    card = ModelCard(name="emoji", source="models/emoji", dtype="float32")
    return pipelines.load(card, Catalog([card], "emoji", ROOT), Gather(), torch.device("cpu"))


def test_pictures_larger_than_those_of_training(emoji: LoadedModel) -> None:
    size = {"width": 2 * emoji.record.width, "height": 2 * emoji.record.height}
    large = picture(emoji, prompt="a red heart", num_inference_steps=4, **size)
    assert large.shape == (size["height"], size["width"], 3)
    quarters = [part for half in np.split(large, 2) for part in np.split(half, 2, axis=1)]
    assert all(part.std() > 1 for part in quarters)


def test_the_demo_model_repaints_what_is_masked_and_nothing_else(emoji: LoadedModel) -> None:
    side = emoji.record.width
    fields = {"width": side, "height": side, "num_inference_steps": 4, "prompt": "a red heart"}
    start = picture(emoji, **fields)
    inputs = {IMAGE: Image.fromarray(start), MASK: masked((side, side), (8, 8, 40, 40))}
    fields |= {"prompt": "a blue fish", "seed": 5, "strength": 1.0, "mask_blur": 2}
    painted = picture(emoji, inputs, task="inpaint", **fields)
    changed = (painted != start).any(axis=-1)
    assert changed[10:38, 10:38].mean() > 0.5
    changed[2:46, 2:46] = False
    assert not changed.any()


# --- Steps, company, refusals


@pytest.mark.parametrize(
    ("family", "fields", "steps"),
    [
        ("sd15", {"scheduler": "DDIMScheduler", "num_inference_steps": 4}, 4),
        ("sd15", {"scheduler": "PNDMScheduler", "num_inference_steps": 4}, 4),
        ("sd15", {"scheduler": "HeunDiscreteScheduler", "num_inference_steps": 4}, 4),
        ("sd15", {"scheduler": "DDIMScheduler", "task": "image-to-image", "strength": 0.35}, 3),
        ("sd15", {"scheduler": "HeunDiscreteScheduler", "task": "inpaint", "strength": 0.35}, 3),
        ("sd15", {"scheduler": "LCMScheduler", "num_inference_steps": 4}, 4),
        ("sd15", {"scheduler": "LCMScheduler", "task": "image-to-image", "strength": 0.35}, 3),
        ("sd15", {"scheduler": "TCDScheduler", "task": "inpaint", "strength": 0.35}, 3),
        ("super-resolution", {"task": "upscale"}, 10),
        ("gligen", {"task": "layout-to-image"}, 10),
        ("dit", {"task": "class-to-image"}, 10),
        ("ldm", {"task": "unconditional"}, 10),
    ],
)
def test_steps_are_told_one_by_one_up_to_those_that_are_made(
    family: str, fields: dict[str, Any], steps: int, models: Loaded
) -> None:
    model = models[family]
    asked, inputs = job(model, **{"num_inference_steps": 10, **fields})
    heard = Heard()
    tasks.run(asked, model, inputs, heard)
    assert heard.steps == [(step, steps) for step in range(1, steps + 1)]


def test_steps_of_pictures_made_one_by_one_are_told_as_steps_of_all(models: Loaded) -> None:
    asked, inputs = job(models["sd15"], num_inference_steps=2, num_images=3, deterministic=True)
    heard = Heard()
    tasks.run(asked, models["sd15"], inputs, heard)
    assert heard.steps == [(step, 6) for step in range(1, 7)]


def test_the_last_step_has_the_latents_that_are_decoded(models: Loaded) -> None:
    model = models["sd15"]
    asked, inputs = job(model, num_inference_steps=3, num_images=2, width=24)
    heard = Heard()
    decoded: list[torch.Tensor] = []
    vae = model.components["vae"]
    hook = vae.decoder.register_forward_pre_hook(lambda _, given: decoded.append(given[0]))
    tasks.run(asked, model, inputs, heard)
    hook.remove()
    assert [each.shape for each in heard.latents] == [(2, 4, 8, 12)] * 3
    with torch.no_grad():
        expected = vae.post_quant_conv(heard.latents[-1] / vae.config.scaling_factor)
    assert torch.equal(decoded[0], expected)


def test_jobs_run_in_company_on_their_own_schedulers(tmp_path: Path) -> None:
    gather = Gather()
    model = tiny.load("sd15", tmp_path, gather)
    jobs = [
        job(model, seed=3, num_inference_steps=4),
        job(model, seed=4, scheduler="HeunDiscreteScheduler", guidance_scale=1.0),
        job(model, task="image-to-image", seed=5, num_inference_steps=6, num_images=2),
        job(model, task="inpaint", seed=6, num_inference_steps=5),
        job(model, seed=7, scheduler="LCMScheduler", num_inference_steps=4, num_images=2),
        job(model, task="image-to-image", seed=8, scheduler="TCDScheduler"),
    ]
    several = range(len(jobs))

    def run(index: int) -> tasks.Outcome:
        return tasks.run(jobs[index][0], model, jobs[index][1])

    with torch.no_grad():
        alone = [run(index) for index in several]
    together = values(run_all(gather, {index: lambda i=index: run(i) for index in several}))
    assert gather.joined_calls >= 3
    for index in several:
        pairs = zip(together[index].pictures, alone[index].pictures, strict=True)
        assert all(apart(one, other) <= 1 for one, other in pairs)


def test_what_a_prompt_says_too_much_is_told(models: Loaded) -> None:
    [warning] = made(models["flux"], prompt="cats " * 200).warnings
    assert warning.startswith("prompt has ")
    assert "cats" not in warning


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("lcm", {"negative_prompt": "dark"}),
        ("flux", {"clip_skip": 1}),
        ("sd3", {"guidance_rescale": 0.5}),
        ("gligen", {"task": "layout-to-image", "guidance_rescale": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(reversed(value)),
)
def test_what_a_pipeline_does_not_take_is_unsupported(
    family: str, fields: dict[str, Any], models: Loaded
) -> None:
    with pytest.raises(UnsupportedError, match=next(reversed(fields))):
        made(models[family], **fields)


def test_a_size_that_a_pipeline_refuses_is_unsupported(model: LoadedModel) -> None:
    with pytest.raises(UnsupportedError, match="divisible by 8"):
        made(model, width=20)


def test_a_task_that_the_model_does_not_do_is_unsupported(model: LoadedModel) -> None:
    with pytest.raises(UnsupportedError, match="text-to-image"):
        made(replace(model, pipelines={}))


def test_values_that_are_not_numbers_make_no_picture(tmp_path: Path) -> None:
    broken = tiny.load("sd15", tmp_path, Gather())
    torch.nn.init.constant_(broken.components["unet"].conv_out.weight, torch.nan)
    with pytest.raises(InvalidOutputError, match="not numbers"):
        made(broken)
