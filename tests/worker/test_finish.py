"""Pictures as an engine leaves them: their files, what these say, and that it makes them again."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.errors import InvalidImageError
from darkroom.images import ImageStore
from darkroom.job import ImageRecord, Job, JobStatus
from darkroom.provenance import request_of
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue
from tests import tiny
from tests.stored import file_of
from tests.worker.test_engine import MODEL, Running

FORMATS = ("png", "jpeg", "webp")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finish-models")
    tiny.write("sd15", folder / "tiny")
    model = MODEL.format("tiny", "").replace("max_size", "max_prompt_chars = 100000, max_size")
    (folder / "models.toml").write_text(model)
    return folder


class Engine(Running):
    """One whose pictures can be looked at."""

    def made(self, *job_ids: str) -> list[Job]:
        if not self.thread.is_alive():
            self.start()
        jobs = [self.ended(job_id) for job_id in job_ids]
        assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
        return jobs

    def file(self, image: ImageRecord) -> Path:
        return file_of(ImageStore.of(self.settings), image.id)

    def pixels(self, image: ImageRecord) -> np.ndarray:
        return np.asarray(Image.open(self.file(image)), int)

    def replay(self, image: ImageRecord) -> Job:
        return self.made(self.submit(**request_of(self.file(image).read_bytes())))[0]


@pytest.fixture
def engine(redis, models, tmp_path):
    yield from started(redis, models, tmp_path)


def started(redis, models, tmp_path, **settings):
    one = Engine(Queue(redis, Rules(lease_s=60)), models, tmp_path, grace_s=30, **settings)
    yield one
    if one.thread.is_alive():
        one.drain()


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_stored_in_the_format_that_was_asked_for(engine):
    asked = [engine.submit(output={"format": each, "quality": 70}) for each in FORMATS]
    for image_format, job in zip(FORMATS, engine.made(*asked), strict=True):
        (image,) = job.images
        data = engine.file(image).read_bytes()
        assert Image.open(io.BytesIO(data)).format == image_format.upper()
        assert image.format == image_format
        assert (image.bytes, image.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("image_format", FORMATS)
def test_what_a_picture_says_makes_the_same_file_again(engine, image_format):
    output = {"format": image_format}
    (job,) = engine.made(engine.submit(seed=7, negative_prompt="dog", output=output))
    again = engine.replay(job.images[0])
    assert again.request == job.request
    assert again.images[0].sha256 == job.images[0].sha256
    other = engine.made(engine.submit(**job.request | {"seed": 8}))[0]
    assert other.images[0].sha256 != job.images[0].sha256


def test_a_picture_from_a_picture_is_made_again_from_the_one_that_was_stored(engine):
    image = ImageStore(engine.settings.store_dir).put_input(picture("red")).id
    asked = {"image": image, "strength": 0.7, "width": 16, "height": 16}
    (job,) = engine.made(engine.submit(seed=7, **asked))
    again = engine.replay(job.images[0])
    assert again.request["task"] == "image-to-image"
    assert again.images[0].sha256 == job.images[0].sha256


def test_each_picture_of_a_job_is_made_again_by_itself_within_rounding(engine):
    (job,) = engine.made(engine.submit(seed=7, num_images=3))
    for image in job.images:
        again = engine.replay(image)
        assert (again.request["seed"], again.request["num_images"]) == (image.seed, 1)
        off = np.abs(engine.pixels(again.images[0]) - engine.pixels(image))
        assert off.max() <= 1
        assert (off > 0).mean() <= 0.005
    assert job.images[0].reproducibility["class"] == "close"
    assert job.images[0].reproducibility["row_counts"] == [6]


def crowd(engine: Engine) -> list[str]:
    return [engine.submit(prompt=f"dog {i}", num_inference_steps=6) for i in range(3)]


def test_a_deterministic_job_has_the_same_bits_in_every_company(engine):
    asked = {"prompt": "a cat", "seed": 7, "num_images": 2, "num_inference_steps": 6}
    apart = engine.submit(**asked, deterministic=True)
    others = crowd(engine)
    joined = engine.submit(**asked)
    among_others, *_, neighbour = engine.made(apart, *others, joined)
    assert engine.engine.gather.joined_calls > 0
    assert max(neighbour.images[0].reproducibility["row_counts"]) > 4
    for image in among_others.images:
        assert image.reproducibility["class"] == "exact"
        assert image.reproducibility["row_counts"] == [2]
        again = engine.replay(image)
        assert again.images[0].reproducibility["row_counts"] == [2]
        assert np.array_equal(engine.pixels(again.images[0]), engine.pixels(image))
    assert among_others.progress.steps == among_others.progress.step == 12


@pytest.mark.parametrize(
    ("most", "asked", "told"),
    [("full", "minimal", "minimal"), ("minimal", "full", "minimal"), ("none", "full", "none")],
)
def test_a_picture_says_no_more_than_client_and_operator_allow(
    redis, models, tmp_path, most, asked, told
):
    for engine in started(redis, models, tmp_path, metadata=most):
        (job,) = engine.made(engine.submit(prompt="secret", output={"metadata": asked}))
        data = engine.file(job.images[0]).read_bytes()
        assert b"secret" not in data
        assert (b"trainedAlgorithmicMedia" in data) == (told != "none")
        with pytest.raises(InvalidImageError):
            request_of(data)


def test_a_job_warns_of_what_its_files_cannot_hold(engine):
    # Without guidance nobody has to read the negative prompt.
    long = {"negative_prompt": "x" * 70_000, "guidance_scale": 1.0}
    (job,) = engine.made(engine.submit(**long, num_images=2, output={"format": "jpeg"}))
    assert len([warning for warning in job.warnings if "JPEG" in warning]) == 1
