import json
from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.draft import Draft
from darkroom.forms import form
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer, offer
from darkroom.tasks import TASKS
from darkroom.validation import completed, filled_in, parse


def write_model(folder: Path) -> None:
    for part, content in {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        },
        "unet/config.json": {"sample_size": 16},
        "vae/config.json": {"block_out_channels": [8, 8, 8]},
    }.items():
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_text(json.dumps(content))


def unseen(**card) -> Offer:
    """Of a model of which this machine has nothing but the card."""
    card = ModelCard(name="new", source="owner/new", **card)
    return offer(Catalog([card], "new", Path("/nowhere")), card, None)


def test_until_a_worker_has_seen_a_model_its_folder_tells(catalog, tmp_path):
    write_model(tmp_path / "weights" / "pix")
    told = offer(catalog, catalog.find("pix"), None)
    assert (told.width, told.height, told.scheduler) == (64, 64, "EulerDiscreteScheduler")
    assert set(told.tasks) == {"text-to-image", "image-to-image", "inpaint"}
    assert "DDIMScheduler" in told.schedulers


@pytest.mark.parametrize(("revision", "is_known"), [(None, True), ("c0ffee", True), ("b", False)])
def test_a_repository_that_was_pulled_tells_as_much(tmp_path, monkeypatch, revision, is_known):
    repository = tmp_path / "models--owner--new"
    write_model(repository / "snapshots" / "c0ffee")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    told = unseen(revision=revision)
    known = (64, 64, "EulerDiscreteScheduler") if is_known else (None, None, None)
    assert (told.width, told.height, told.scheduler) == known
    assert told.is_known is is_known


def test_what_nobody_knows_is_left_open_and_nothing_is_refused_for_it():
    new = unseen(loras=[{"name": "ink", "source": "ink"}])
    assert (new.width, new.height, new.scheduler, new.classes) == (None, None, None, None)
    assert set(new.tasks) == set(TASKS)
    assert {"guidance_rescale", "loras"} <= new.takes("text-to-image")
    assert not {"controls", "reference_images"} & new.takes("text-to-image")
    assert {"EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"} <= set(new.schedulers)


def test_what_the_card_says_is_known():
    new = unseen(
        scheduler="DDIMScheduler", tasks=["inpaint"], defaults={"width": 768, "guidance_scale": 0}
    )
    assert (new.width, new.height, new.scheduler) == (768, None, "DDIMScheduler")
    assert (new.tasks, new.guidance) == (("inpaint",), 0)


@pytest.mark.parametrize(
    ("of", "is_known"),
    [
        ({"source": "owner/new", "revision": "a"}, True),
        ({}, True),  # version 0.2 did not say of what
        ({"source": "owner/old", "revision": "a"}, False),
        ({"source": "owner/new", "revision": "b"}, False),
        ({"source": "owner/new", "revision": "a", "transformer": "old.safetensors"}, False),
        ({"source": "owner/new", "revision": "a", "vae": "old.safetensors"}, False),
        ({"source": "owner/new", "revision": "a", "config": "owner/old"}, False),
    ],
)
def test_the_record_of_what_the_card_named_before_does_not_count(of, is_known):
    card = ModelCard(name="new", source="owner/new", revision="a")
    record = ModelRecord(name="new", schedulers=("DDIMScheduler",), width=64, height=64, **of)
    told = offer(Catalog([card], "new", Path("/nowhere")), card, record)
    assert (told.is_known, told.width) == (is_known, 64 if is_known else None)


@pytest.mark.parametrize(
    ("limits", "native", "side"),
    [
        ({}, 512, 512),
        ({}, 16, 64),
        ({"max_size": 256}, 512, 256),
        ({"max_pixels": 300 * 300}, 512, 296),
        ({"size_multiple": 48}, 512, 480),
    ],
)
def test_a_size_by_default_is_one_that_may_be_asked_for(limits, native, side):
    card = ModelCard(name="pix", source="pix", limits=limits)
    catalog = Catalog([card], "pix", Path())
    record = ModelRecord(name="pix", schedulers=("DDIMScheduler",), width=native, height=native)
    known = offer(catalog, card, record)
    assert (known.width, known.height) == (side, side)


def test_a_record_stands_above_the_guess_and_the_card_above_both(catalog):
    record = ModelRecord(
        name="sdxl",
        tasks=("text-to-image", "image-to-image"),
        schedulers=("DDIMScheduler",),
        scheduler="DDIMScheduler",
        width=512,
        height=512,
    )
    known = offer(catalog, catalog.find("sdxl"), record)
    assert known.tasks == ("text-to-image",)
    assert known.schedulers == ("DDIMScheduler", "EulerDiscreteScheduler")
    assert (known.scheduler, known.width, known.guidance) == ("EulerDiscreteScheduler", 1024, 0.0)


NONSENSE = (5, None, [], {}, "x", [[]], [None, 5], ["a", "b"], 10**30, -1, True, 1.5)


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("model_index.json", "_class_name"),
        ("model_index.json", "scheduler"),
        ("model_index.json", "unet"),
        ("unet/config.json", "sample_size"),
        ("vae/config.json", "block_out_channels"),
        ("transformer/config.json", "num_embeds_ada_norm"),
    ],
)
def test_a_folder_of_nonsense_is_guessed_about_all_the_same(catalog, tmp_path, file, key, value):
    write_model(tmp_path / "weights" / "pix")
    path = tmp_path / "weights" / "pix" / file
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | {key: value}))
    told = offer(catalog, catalog.find("pix"), None)
    for task in told.tasks:
        assert form(task, told).model_json_schema()


@pytest.mark.parametrize("content", [b"", b"[" * 10**6, b"\xff", b"[1]", b"null", b" " * 2**25])
def test_an_index_that_is_none_is_guessed_about_too(catalog, tmp_path, content):
    write_model(tmp_path / "weights" / "pix")
    (tmp_path / "weights" / "pix" / "model_index.json").write_bytes(content)
    told = offer(catalog, catalog.find("pix"), None)
    assert [form(task, told) for task in told.tasks]


def of_class(pipeline: str, **card) -> Offer:
    """Of a model of which a worker found no more than its class."""
    card = ModelCard(name="new", source="owner/new", **card)
    record = ModelRecord(
        name="new", pipeline=pipeline, tasks=("text-to-image",), schedulers=("DDIMScheduler",)
    )
    return offer(Catalog([card], "new", Path("/nowhere")), card, record)


@pytest.mark.parametrize(
    ("pipeline", "steps", "guidance"),
    [
        ("StableDiffusionXLPipeline", 50, 5.0),
        ("FluxPipeline", 28, 3.5),
        ("LatentConsistencyModelPipeline", 4, 8.5),
        ("QwenImagePipeline", 50, 4.0),
    ],
)
def test_steps_and_guidance_are_the_pipeline_s_own_unless_the_card_says_them(
    pipeline, steps, guidance
):
    own = of_class(pipeline)
    assert (own.steps, own.guidance) == (steps, guidance)
    asked = of_class(pipeline, defaults={"num_inference_steps": 9, "guidance_scale": 0})
    assert (asked.steps, asked.guidance) == (9, 0)
    bounded = of_class(pipeline, limits={"max_steps": 3, "max_guidance_scale": 2})
    assert (bounded.steps, bounded.guidance) == (3, 2)


def test_steps_and_guidance_of_a_model_that_nobody_knows_are_left_open():
    new = unseen()
    assert (new.steps, new.guidance) == (None, None)
    body = {"prompt": "a cat", "model": "new", "width": 512, "height": 512}
    draft = filled_in(parse(body | {"scheduler": "DDIM"}, new), new, None)
    assert draft.values["num_inference_steps"] is draft.values["guidance_scale"] is None
    told = completed(Draft(draft.task, draft.values), of_class("FluxPipeline"), None)
    assert (told.num_inference_steps, told.guidance_scale) == (28, 3.5)


def test_sizes_are_multiples_that_both_the_card_and_the_model_can_have():
    record = ModelRecord(name="new", schedulers=("DDIMScheduler",), width=88, size_multiple=16)
    for multiple, both in ((8, 16), (24, 48), (1, 16)):
        card = ModelCard(name="new", source="x", limits={"size_multiple": multiple})
        told = offer(Catalog([card], "new", Path("/nowhere")), card, record)
        assert told.limits.size_multiple == both
        assert told.width % both == 0
