import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from darkroom.queue.model_records import ModelRecords
from tests.darkroom.test_lora_folder import LORA, weights
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
    xl = weights("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight")
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
    pad = {"lora_unet_conv_in.lora_down.weight": 2**18}
    assert uploads.put(INK, content=_of_size(pad)).status_code == 201
    for number in range(2):
        made = uploads.put(f"/api/v1/models/other/loras/more{number}", content=LORA)
        assert made.status_code == 201
    full = uploads.put("/api/v1/models/other/loras/last", content=LORA)
    assert (full.status_code, full.json()["errors"][0]["code"]) == (422, "too_many")
    assert uploads.put(INK, content=LORA).status_code == 200


def _of_size(tensors: dict[str, int]) -> bytes:
    ((name, count),) = tensors.items()
    entry = {name: {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    header = json.dumps(entry).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4 * count)


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
