import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from darkroom.lora_folder import LoraFolder, mark_of
from darkroom.model_record import RefusedUpload
from darkroom.queue.model_records import ModelRecords
from tests.darkroom.test_lora_folder import LORA, PAIR, weights
from tests.service.conftest import RECORDS

OF_THE_CARD = {"ink": False, "torn": False, "quick": False}
INK = "/api/v1/models/other/loras/oil"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def uploads(serving, valkey, redis, root: Path) -> Iterator[httpx2.Client]:
    ModelRecords(redis).put(
        RECORDS[1].model_copy(update={"loras": ("ink",), "pipeline": "StableDiffusionPipeline"})
    )
    served = serving(
        redis_url=valkey.url,
        state_dir=root,
        lora_uploads=True,
        max_lora_mb=2,
        max_loras=3,
        max_bodies_mb=0.5,
    )
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        yield client


def names(client: httpx2.Client, model: str = "other") -> dict[str, bool]:
    listed = client.get(f"/api/v1/models/{model}/loras").json()["data"]
    return {each["name"]: each["uploaded"] for each in listed}


def test_an_uploaded_lora_can_be_used_listed_replaced_and_deleted(uploads, root: Path) -> None:
    made = uploads.put(INK, content=LORA)
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["name"], told["model"], told["bytes"]) == ("oil", "other", len(LORA))
    assert told["sha256"] == hashlib.sha256(LORA).hexdigest()
    assert names(uploads) == OF_THE_CARD | {"oil": True}
    assert uploads.get(INK).json() == {key: told[key] for key in told if key != "sha256"}
    assert names(uploads, "pix") == {}
    shown = uploads.get("/api/v1/models/other").json()
    assert [each["name"] for each in shown["loras"]] == [*OF_THE_CARD, "oil"]
    asked = {"prompt": "a cat", "model": "other+oil", "loras": [{"name": "ink"}]}
    job = uploads.post("/api/v1/jobs", json=asked).json()
    assert [each["name"] for each in job["request"]["loras"]] == ["oil", "ink"]
    tagged = uploads.post("/api/v1/jobs", json={"prompt": "a <lora:oil:1>", "model": "other"})
    assert [each["name"] for each in tagged.json()["request"]["loras"]] == ["oil"]
    assert uploads.put(INK, content=LORA).status_code == 200
    assert [path.name for path in (root / "loras" / "other").iterdir()] == ["oil.safetensors"]
    assert uploads.delete(INK).status_code == 204
    assert names(uploads) == OF_THE_CARD
    for again in (uploads.delete(INK), uploads.get(INK)):
        assert (again.status_code, again.json()["code"]) == (404, "lora_not_found")
    assert uploads.post("/api/v1/jobs", json=asked).status_code == 404


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"\x89PNG and more", "a picture"),
        (LORA[:-2], "2 bytes are missing at its end"),
        (weights("model.diffusion_model.out.weight"), "is no LoRA, but"),
        (b"PK\x03\x04 and more", "could run code"),
        ((2**40).to_bytes(8, "little") + b"{", "ends before its header does"),
    ],
)
def test_what_is_no_lora_is_refused_and_leaves_nothing(uploads, root, content, words) -> None:
    refused = uploads.put(INK, content=content)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameters")
    assert words in refused.json()["detail"]
    assert str(root) not in refused.text
    assert [*(root / "loras").rglob("*.*")] == []


def test_a_lora_for_another_family_is_refused(uploads, redis, root: Path) -> None:
    layer = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
    xl = weights(f"{layer}.lora_down.weight", f"{layer}.lora_up.weight")
    assert uploads.put(INK, content=xl).status_code == 201, "nobody knows the model's family"
    for pipeline, status in (("StableDiffusionXLPipeline", 200), ("FluxPipeline", 422)):
        ModelRecords(redis).put(RECORDS[1].model_copy(update={"pipeline": pipeline}))
        answer = uploads.put(INK, content=xl)
        assert answer.status_code == status, answer.text
    detail = answer.json()["errors"][0]["detail"]
    assert detail == "The file is a LoRA for sdxl, and the model 'other' is flux-dev."
    assert [path.name for path in (root / "loras" / "other").iterdir()] == ["oil.safetensors"]


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", ".hidden", "a%00b", "a%20b", "%F0%9F%8C%9A", "x" * 65, "-x", "a%5Cb"]
)
def test_names_that_could_lead_elsewhere_are_refused(uploads, root: Path, name: str) -> None:
    url = httpx2.URL(uploads.base_url, raw_path=f"/api/v1/models/other/loras/{name}".encode())
    for method in ("PUT", "DELETE"):
        answer = uploads.request(method, url, content=LORA if method == "PUT" else None)
        assert answer.status_code in (404, 405, 422), answer.text
        assert "internal" not in answer.text
    assert not (root / "loras").exists() or [*(root / "loras").rglob("*.*")] == []


def test_slashes_in_a_name_belong_to_the_model_and_lead_nowhere(uploads, root: Path) -> None:
    path = b"/api/v1/models/other/loras/..%2F..%2Floras/x"
    url = httpx2.URL(uploads.base_url, raw_path=path)
    answer = uploads.put(url, content=LORA)
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
    assert not (root / "loras").exists()


def test_loras_of_the_card_stay_as_they_are(uploads) -> None:
    for answer in (
        uploads.put("/api/v1/models/other/loras/ink", content=LORA),
        uploads.delete("/api/v1/models/other/loras/ink"),
    ):
        assert answer.status_code == 422
        assert "named this LoRA in models.toml" in answer.json()["detail"]


def test_size_and_number_are_bounded(uploads, root: Path) -> None:
    large = uploads.put(INK, content=bytes(3 * 2**20))
    assert (large.status_code, large.json()["code"]) == (413, "payload_too_large")
    pieces = (bytes(2**18) for _ in range(12))  # of no declared length
    assert uploads.put(INK, content=pieces).status_code == 413
    assert [*(root / "loras").rglob("*.*")] == []
    # More than all bodies together may take, which a file that goes to disk does not.
    assert uploads.put(INK, content=_of_size(2**17)).status_code == 201
    for number in range(2):
        made = uploads.put(f"/api/v1/models/other/loras/more{number}", content=LORA)
        assert made.status_code == 201
    full = uploads.put("/api/v1/models/other/loras/last", content=LORA)
    assert (full.status_code, full.json()["errors"][0]["code"]) == (422, "too_many")
    assert uploads.put(INK, content=LORA).status_code == 200


def _of_size(count: int) -> bytes:
    """A LoRA of twice so many numbers."""
    size = 4 * count
    entries = {
        name: {"dtype": "F32", "shape": [count], "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(PAIR)
    }
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + bytes(2 * size)


def test_half_of_a_lora_is_refused(uploads) -> None:
    [error] = uploads.put(INK, content=weights(PAIR[0])).json()["errors"]
    assert error["detail"] == (
        "The file: some of its weights are missing: a half of lora_unet_conv_in."
    )


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (
            {"pipeline": "LDMSuperResolutionPipeline", "tasks": ("upscale",)},
            "takes no LoRAs; it does upscale.",
        ),
        (
            {"pipeline": "PixArtSigmaPipeline", "tasks": ("text-to-image",)},
            "takes no LoRAs; it does text-to-image.",
        ),
        ({"schedulers": (), "error": "tiny/other: damaged"}, "cannot be used: tiny/other: damaged"),
    ],
)
def test_a_model_that_can_use_none_takes_no_upload(uploads, redis, root, known, words) -> None:
    ModelRecords(redis).put(RECORDS[1].model_copy(update=known))
    refused = uploads.put(INK, content=LORA)
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["pointer"] == "/path/model_id"
    assert words in error["detail"]
    assert not (root / "loras").exists()


def test_what_may_be_replaced_or_deleted_is_for_the_client_to_say(uploads) -> None:
    new, there = {"If-None-Match": "*"}, {"If-Match": "*"}
    for method, headers, status in (
        ("DELETE", there, 412),
        ("PUT", there, 412),
        ("PUT", new, 201),
        ("PUT", new, 412),
        ("DELETE", new, 412),
        ("PUT", {"If-Match": '"tag"'}, 412),
        ("PUT", there | {"If-None-Match": '"tag"'}, 200),
        ("DELETE", there, 204),
    ):
        content = LORA if method == "PUT" else None
        answer = uploads.request(method, INK, content=content, headers=headers)
        assert answer.status_code == status, (method, headers, answer.text)
    assert answer.text == ""


def test_part_of_a_file_is_refused(uploads, root: Path) -> None:
    length = len(LORA)
    part = {"Content-Range": f"bytes 0-{length - 1}/{2 * length}"}
    refused = uploads.put(INK, content=LORA, headers=part)
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request")
    assert "Content-Range" in refused.json()["detail"]
    assert not (root / "loras").exists()


def test_what_no_worker_could_use_says_so_until_another_takes_its_place(
    uploads, redis, root
) -> None:
    uploads.put(INK, content=LORA)
    mark = mark_of(LoraFolder(root / "loras").file("other", "oil"))
    known = {"refused_uploads": {"oil": RefusedUpload(file=mark, reason="oil: does not fit")}}
    ModelRecords(redis).put(RECORDS[1].model_copy(update=known | {"loras": ("ink",)}))
    assert uploads.get(INK).json()["error"] == "oil: does not fit"
    shown = uploads.get("/api/v1/models/other").json()["loras"]
    assert {each["name"]: each["error"] for each in shown}["oil"] == "oil: does not fit"
    asked = {"prompt": "a cat", "model": "other+oil"}
    [error] = uploads.post("/api/v1/jobs", json=asked).json()["errors"]
    assert (error["pointer"], "does not fit" in error["detail"]) == ("/model", True)
    uploads.put(INK, content=_of_size(2))
    assert uploads.get(INK).json()["error"] is None
    assert uploads.post("/api/v1/jobs", json=asked).status_code == 202


def test_loras_are_those_of_a_model_also_where_some_stand_behind_its_name(uploads) -> None:
    assert names(uploads, "other+ink") == OF_THE_CARD
    lost = uploads.get("/api/v1/models/other+nope/loras").json()
    assert (lost["status"], lost["code"]) == (404, "model_not_found")
    assert "the model 'other' has no LoRA 'nope'; it has ink" in lost["detail"]
    for method in ("PUT", "DELETE"):
        refused = uploads.request(method, "/api/v1/models/other+ink/loras/oil").json()
        assert (refused["status"], refused["near"]) == (404, ["other"])
        assert "for the model 'other' itself" in refused["detail"]


def test_forms_and_what_is_compressed_are_refused(uploads) -> None:
    for kind in ("multipart/form-data; boundary=x", "application/json", "text/plain"):
        refused = uploads.put(INK, content=LORA, headers={"Content-Type": kind})
        assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    packed = uploads.put(INK, content=LORA, headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 415


def test_nobody_uploads_anything_unless_the_operator_lets_them(api) -> None:
    for answer in (api.put(INK, content=LORA), api.delete(INK)):
        assert (answer.status_code, answer.json()["code"]) == (403, "uploads_off")
    assert names(api) == OF_THE_CARD
    assert api.get("/api/v1/models/nobody/loras").status_code == 404
