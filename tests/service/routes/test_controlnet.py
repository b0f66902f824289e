"""Routes of A1111's extension ControlNet, asked by `webuiapi` over a real socket."""

import io

import pytest
from PIL import Image
from webuiapi import WebUIApi

from tests.service.conftest import png
from tests.service.routes.test_a1111 import SDAPI


@pytest.fixture
def client(served, here):  # noqa: ARG001
    return WebUIApi(baseurl=f"{served.url}{SDAPI}")


def test_lists(client, api):
    assert client.controlnet_version() == 3
    assert client.controlnet_model_list() == []
    assert client.controlnet_module_list() == ["none", "canny"]
    types = api.get("/controlnet/control_types").json()["control_types"]
    assert types["All"]["model_list"] == ["None"]


def test_a_map_of_a_picture(client):
    square = Image.new("RGB", (32, 32), "black")
    square.paste("white", (8, 8, 24, 24))
    [made] = client.controlnet_detect([square], module="canny").images
    assert (made.size, made.getpixel((1, 1))) == ((32, 32), (0, 0, 0))
    assert any(made.getpixel((x, 16)) == (255, 255, 255) for x in range(6, 10))


def test_errors_have_the_shape_of_the_api(api, client):
    body = {"controlnet_module": "depth", "controlnet_images": ["?"]}
    refused = api.post("/controlnet/detect", json=body)
    assert refused.status_code == 422
    assert set(refused.json()) == {"error", "detail", "body", "errors"}
    assert "controlnet_module: Must be one of: canny." in refused.json()["detail"]
    with pytest.raises(RuntimeError, match="422"):
        client.controlnet_detect([Image.open(io.BytesIO(png()))], module="none")
    assert (
        api.post("/controlnet/detect", json=body | {"controlnet_module": "canny"}).status_code
        == 422
    )
