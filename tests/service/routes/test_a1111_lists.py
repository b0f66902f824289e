"""What clients of AUTOMATIC1111's API choose from, asked by `webuiapi` over a real socket."""

import pytest
from webuiapi import WebUIApi

from tests.service.conftest import knows
from tests.service.routes.test_a1111 import SDAPI


@pytest.fixture
def client(served, here):  # noqa: ARG001
    return WebUIApi(baseurl=f"{served.url}{SDAPI}")


def test_models(client, redis):
    assert client.util_get_model_names() == ["other", "pix"]
    [first, *_] = client.get_sd_models()
    assert first["title"] == first["model_name"] == first["filename"]
    knows(redis, "other", "upscale")
    assert client.util_get_model_names() == ["pix"]
    assert "other" in [each["name"] for each in client.get_upscalers()]


def test_samplers_are_those_of_the_model_by_their_names_there(client):
    assert client.util_get_sampler_names() == ["DDIM", "Euler"]
    aliases = {each["name"]: each["aliases"] for each in client.get_samplers()}
    assert aliases["Euler"] == ["EulerDiscreteScheduler"]
    assert client.util_get_scheduler_names() == [
        *("automatic", "beta", "exponential", "karras", "sgm_uniform")
    ]


def test_what_belongs_to_a_model(api, client, redis):
    knows(redis, "other", "text-to-image", loras=("ink",), controlnets=("canny",))
    assert client.get_loras() == []
    assert [each["name"] for each in client.get_prompt_styles()] == ["ink"]
    assert client.get_scripts() == {"txt2img": ["controlnet"], "img2img": ["controlnet"]}
    assert {each["name"] for each in api.get(f"{SDAPI}/script-info").json()} == {"controlnet"}
    client.set_options({"sd_model_checkpoint": "other"})
    assert [each["name"] for each in client.get_loras()] == ["ink", "torn", "quick"]
    assert client.get_prompt_styles()[0]["prompt"] == "{prompt}, blue ink"
    assert client.controlnet_model_list() == ["canny"]
    client.set_options({"sd_model_checkpoint": ""})


def test_what_there_is_none_of(api, client):
    lists = ("hypernetworks", "face-restorers", "realesrgan-models", "extensions", "sd-vae")
    for name in (*lists, "sd-modules"):
        assert api.get(f"{SDAPI}/{name}").json() == [], name
    assert client.get_cmd_flags() == client.refresh_checkpoints() == {}
    assert client.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert set(client.get_memory()) == {"ram", "cuda"}
    assert [each["name"] for each in client.get_upscalers()] == ["None", "Lanczos"]
    assert client.get_latent_upscale_modes() == [{"name": "Latent"}]
