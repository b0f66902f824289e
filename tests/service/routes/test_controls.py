"""Maps for ControlNets, as clients see them before they ask for a picture."""

import base64
import io

import pytest
from PIL import Image, ImageDraw

from darkroom.control_maps import control_map
from tests.picture_files import encoded
from tests.service.conftest import bearer
from tests.service.routes.test_jobs import problem

PATH = "/api/v1/controls/preprocess"


def drawn(size: tuple[int, int] = (48, 32), mode: str = "RGBA") -> Image.Image:
    image = Image.new(mode, size)
    ImageDraw.Draw(image).ellipse([4, 4, size[0] - 9, size[1] - 5], fill="teal")
    return image


def text(image: Image.Image, fmt: str = "PNG", **options: object) -> str:
    return base64.b64encode(encoded(image, fmt, **options)).decode()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return image


@pytest.mark.parametrize("size", [None, (96, 40)])
def test_a_map_is_what_a_job_sees(api, here, size):
    """The job keeps its picture; of that its worker makes the map with the same function."""
    body = {"image": text(drawn()), "background": "#102030"}
    job = api.post("/api/v1/jobs", json={"prompt": "a cat", **body}).json()
    kept = here.store.read_input(job["request"]["image"])
    seen = control_map(Image.open(io.BytesIO(kept)).convert("RGB"), "canny", size or (48, 32))
    sides = {"width": size[0], "height": size[1]} if size else {}
    for image in (body["image"], job["request"]["image"]):
        answer = api.post(PATH, json=body | {"image": image} | sides)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert opened(answer.content).tobytes() == seen.tobytes()
    assert len(set(seen.getdata())) == 2


def test_the_picture_of_a_job_is_taken_where_it_is_theirs(http, made, guarded_work):
    token = made("theirs")
    http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=bearer(token))
    (image,) = guarded_work.all().images
    body = {"image": image.id}
    assert http.post(PATH, json=body, headers=bearer(token)).status_code == 200
    refused = http.post(PATH, json=body, headers=bearer(made("stranger")))
    absent = http.post(PATH, json={"image": f"img_{'0' * 32}"}, headers=bearer(token))
    for answer in (refused, absent):
        (error,) = problem(answer, 422, "invalid_parameters")["errors"]
        assert (error["pointer"], error["code"]) == ("/image", "invalid_input_image")
    assert http.post(PATH, json=body, headers=bearer(made("reads", ("read",)))).status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/image", "missing"),
        ({"image": 5}, "/image", "wrong_type"),
        ({"image": "no picture"}, "/image", "invalid_input_image"),
        ({"image": f"file_{'0' * 64}"}, "/image", "invalid_input_image"),
        ({"image": text(drawn()), "preprocess": "hed"}, "/preprocess", "not_one_of"),
        ({"image": text(drawn()), "width": 0, "height": 8}, "/width", "out_of_range"),
        ({"image": text(drawn()), "width": 64}, "/height", "missing"),
        ({"image": text(drawn()), "width": 9999, "height": 9999}, "", "too_many_pixels"),
        ({"image": text(drawn()), "hight": 64}, "/hight", "unknown_field"),
        ({"image": text(drawn()), "background": "red"}, "/background", "malformed"),
        (
            {"image": text(Image.new("1", (20_000, 6_000)))},
            "/image",
            "invalid_input_image",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_its_place(api, body, pointer, code):
    told = problem(api.post(PATH, json=body), 422, "invalid_parameters")
    assert [(error["pointer"], error["code"]) for error in told["errors"]] == [(pointer, code)]


def test_who_takes_no_png_gets_none(api):
    body = {"image": text(drawn())}
    problem(api.post(PATH, json=body, headers={"Accept": "image/webp"}), 406, "not_acceptable")
    problem(api.post(PATH, content=b"x"), 400, "malformed_request")
    form = {"Content-Type": "multipart/form-data"}
    problem(api.post(PATH, content=b"x", headers=form), 415, "unsupported_media_type")


@pytest.mark.long
def test_the_largest_map_fits_into_a_decoder(api):
    stripes = Image.linear_gradient("L").resize((4000, 4000)).point(lambda v: 255 * (v // 8 % 2))
    body = {"image": text(stripes, "JPEG", quality=30)}
    answer = api.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).size == (4000, 4000)
