"""AUTOMATIC1111's API, asked by `webuiapi` over a real socket, and by the requests of front ends as
their sources send them."""

import base64
import io
import json

import httpx2
import pytest
from PIL import Image, ImageColor
from webuiapi import ControlNetUnit, WebUIApi

from darkroom.job import JobError, JobStatus, Progress
from darkroom.others_requests import of_infotext
from darkroom.queue.queue import News
from tests.service.conftest import bearer, knows, only, picture, png
from tests.service.masks import CORNER, corner_mask, white_in
from tests.service.wire import answer_and_close, head

SDAPI = "/sdapi/v1"
TXT2IMG = f"{SDAPI}/txt2img"


@pytest.fixture
def client(served, here):  # noqa: ARG001
    return WebUIApi(baseurl=f"{served.url}{SDAPI}", sampler="Euler", steps=4)


def test_pictures_from_a_prompt(client, finishing, jobs):
    finishing()
    made = client.txt2img(
        prompt="a cat",
        negative_prompt="a dog",
        width=64,
        height=128,
        batch_size=2,
        n_iter=2,
        seed=7,
        cfg_scale=5,
    )
    job = only(jobs)
    expected = {"prompt": "a cat", "negative_prompt": "a dog", "width": 64, "height": 128}
    expected |= {"num_images": 4, "seed": 7, "guidance_scale": 5.0, "num_inference_steps": 4}
    expected |= {"scheduler": "EulerDiscreteScheduler"}
    assert expected.items() <= job.request.items()
    assert [each.getpixel((0, 0)) for each in made.images] == [(n, 9, 9) for n in range(4)]
    assert made.info["all_seeds"] == [7, 8, 9, 10]
    assert (made.info["sampler_name"], made.info["sd_model_name"]) == ("Euler", "pix")
    assert made.parameters["prompt"] == "a cat"
    assert of_infotext(made.info["infotexts"][1]).request["seed"] == 8
    assert "Not done here" not in str(made.info["warnings"])


def test_what_is_left_out_is_as_the_model_has_it(api, finishing, jobs):
    finishing()
    answer = api.post(TXT2IMG, json={"prompt": "a", "seed": "-1", "steps": None, "extra": 1})
    assert answer.status_code == 200, answer.text
    request = only(jobs).request
    assert (request["width"], request["scheduler"]) == (64, "DDIMScheduler")
    assert answer.headers["x-darkroom-job-id"] == only(jobs).id
    assert answer.headers["x-request-id"]
    assert json.loads(answer.json()["info"])["seed"] == request["seed"]


@pytest.mark.parametrize(
    ("sampler", "schedule_type", "has", "told"),
    [
        ("Euler", "Karras", ("EulerDiscreteScheduler", "karras", None), False),
        ("Euler Karras", "Automatic", ("EulerDiscreteScheduler", "karras", None), False),
        ("k_euler", "sgm_uniform", ("EulerDiscreteScheduler", None, "trailing"), False),
        ("DDIM", "Karras", ("DDIMScheduler", None, None), True),
        ("Euler", "Align Your Steps", ("EulerDiscreteScheduler", None, None), True),
    ],
)
def test_samplers_and_schedule_types(client, finishing, jobs, sampler, schedule_type, has, told):
    finishing()
    client.txt2img(prompt="a", width=64, height=64, sampler_name=sampler, scheduler=schedule_type)
    request = only(jobs).request
    options = request["scheduler_options"]
    assert (request["scheduler"], options["sigmas"], options["timestep_spacing"]) == has
    assert any("does nothing with this sampler" in each for each in only(jobs).warnings) == told


def test_a_sampler_of_a_rectified_flow_has_the_name_of_its_like(client, finishing, jobs, redis):
    flow = ("FlowMatchEulerDiscreteScheduler",)
    knows(redis, "pix", "text-to-image", schedulers=flow, scheduler=flow[0])
    finishing()
    client.txt2img(prompt="a", width=64, height=64, sampler_name="Euler", scheduler="SGM Uniform")
    assert only(jobs).request["scheduler"] == flow[0]


def test_tags_and_styles_of_the_prompt(api, finishing, jobs, redis):
    knows(redis, "other", "text-to-image", loras=("ink",))
    finishing()
    body = {"prompt": "<lora:ink:0.5> a cat", "styles": ["ink"]}
    body["override_settings"] = {"sd_model_checkpoint": "other", "CLIP_stop_at_last_layers": 2}
    assert api.post(TXT2IMG, json=body).status_code == 200
    request = only(jobs).request
    assert request["loras"] == [{"name": "ink", "scale": 0.5}]
    assert (request["prompt"], request["clip_skip"]) == ("a cat, blue ink", 1)


def test_pictures_need_not_be_sent(client, finishing):
    finishing()
    made = client.txt2img(prompt="a", width=64, height=64, send_images=False)
    assert (made.images, made.info["width"]) == ([], 8)


def test_what_is_not_done_is_told(client, finishing, jobs):
    finishing()
    scripts = {"ADetailer": {"args": [True, {}]}, "other": {"args": [False]}}
    client.txt2img(
        prompt="a", width=64, height=64, restore_faces=True, tiling=False, alwayson_scripts=scripts
    )
    assert "Not done here: restore_faces, ADetailer." in only(jobs).warnings


# Pictures from pictures


@pytest.mark.parametrize("mode", ["L", "RGBA"])
@pytest.mark.parametrize("inverted", [0, 1])
def test_white_is_painted_anew(client, finishing, jobs, redis, here, mode, inverted):
    knows(redis, "pix", "inpaint")
    finishing()
    client.img2img(
        prompt="a",
        images=[Image.open(io.BytesIO(png()))],
        mask_image=corner_mask(mode),
        inpainting_mask_invert=inverted,
        mask_blur=2,
        denoising_strength=0.4,
        width=64,
        height=64,
    )
    request = only(jobs).request
    assert (request["task"], request["strength"], request["mask_blur"]) == ("inpaint", 0.4, 2)
    whole = {(x, y) for x in range(8) for y in range(8)}
    assert white_in(here, request["mask_image"]) == (whole - CORNER if inverted else CORNER)


@pytest.mark.parametrize(
    ("mode", "colours"), [(0, {"red", "blue"}), (1, {"lime"}), (2, {"red", "lime", "blue"})]
)
def test_resize_modes(client, finishing, jobs, redis, here, mode, colours):
    knows(redis, "pix", "inpaint")
    striped = Image.new("RGB", (192, 64), "lime")
    striped.paste("red", (0, 0, 64, 64))
    striped.paste("blue", (128, 0, 192, 64))
    finishing()
    client.img2img(
        prompt="a",
        images=[striped],
        mask_image=striped.convert("L"),
        inpaint_full_res=False,
        resize_mode=mode,
        width=64,
        height=64,
    )
    request = only(jobs).request
    for name in ("image", "mask_image"):
        with here.store.open_input(request[name]) as file:
            kept = Image.open(file).convert("RGB")
        assert kept.size == ((192, 64) if mode == 0 else (64, 64))
        if name == "image":
            corners = {kept.getpixel((x, y)) for x in (1, kept.width - 2) for y in (1, 32)}
            corners |= {kept.getpixel((kept.width // 2, 32))} if mode == 2 else set()
            assert corners == {ImageColor.getrgb(each) for each in colours}


def test_inputs_are_told_back_where_that_is_asked_for(api, finishing):
    sent = base64.b64encode(png()).decode()
    for asked, told in (({}, None), ({"include_init_images": True}, [sent])):
        finishing()
        body = {"prompt": "a", "init_images": [sent]} | asked
        answer = api.post(f"{SDAPI}/img2img", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["parameters"]["init_images"] == told


def test_units_of_controlnet(client, finishing, jobs, redis):
    pipeline = "StableDiffusionPipeline"
    knows(redis, "other", "text-to-image", controlnets=("canny",), pipeline=pipeline)
    finishing()
    unit = ControlNetUnit(Image.open(io.BytesIO(png())), module="canny", model="canny", weight=0.5)
    client.txt2img(
        prompt="a",
        width=64,
        height=64,
        controlnet_units=[unit],
        # The client would write the unit into its own default, for all calls after it.
        alwayson_scripts={},
        override_settings={"sd_model_checkpoint": "other"},
    )
    [control] = only(jobs).request["controls"]
    assert (control["name"], control["preprocess"], control["scale"]) == ("canny", "canny", 0.5)


def test_a_hires_fix(client, finishing, jobs):
    finishing()
    client.txt2img(prompt="a", width=64, height=64, enable_hr=True, hr_scale=2, steps=4)
    hires = only(jobs).request["hires"]
    assert (hires["scale"], hires["upscaler"], hires["strength"]) == (2.0, "latent", 0.7)


# Front ends, by their sources


def test_what_sillytavern_sends(served, here, finishing, jobs):  # noqa: ARG001
    """src/endpoints/stable-diffusion.js and public/scripts/extensions/stable-diffusion/index.js."""
    basic = {"Authorization": f"Basic {base64.b64encode(b':').decode()}"}
    with httpx2.Client(base_url=served.url, headers=basic, timeout=20) as http:
        assert http.get(f"{SDAPI}/options").status_code == 200
        lists = ("samplers", "schedulers", "upscalers", "latent-upscale-modes")
        for name in lists:
            assert all(each["name"] for each in http.get(f"{SDAPI}/{name}").json())
        titles = [each["title"] for each in http.get(f"{SDAPI}/sd-models").json()]
        assert isinstance(http.get(f"{SDAPI}/sd-vae").json(), list)
        assert http.post(f"{SDAPI}/options", json={"sd_model_checkpoint": "other"}).is_success
        progress = http.get(f"{SDAPI}/progress").json()
        assert (progress["progress"], progress["state"]["job_count"]) == (0.0, 0)
        assert "other" in titles
        finishing()
        made = http.post(f"{SDAPI}/txt2img", json=SILLYTAVERN | {"url": served.url, "auth": ""})
        assert made.status_code == 200, made.text
        assert base64.b64decode(made.json()["images"][0])
        http.post(f"{SDAPI}/options", json={"sd_model_checkpoint": ""})
    request = only(jobs).request
    assert (request["model"], request["scheduler"]) == ("other", "DDIMScheduler")


SILLYTAVERN = {
    "prompt": "a cat",
    "negative_prompt": "lowres",
    "sampler_name": "DDIM",
    "scheduler": "normal",
    "steps": 20,
    "cfg_scale": 7,
    "width": 64,
    "height": 64,
    "restore_faces": False,
    "enable_hr": False,
    "hr_upscaler": "Latent",
    "hr_scale": 1,
    "hr_additional_modules": [],
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 0,
    "override_settings": {"CLIP_stop_at_last_layers": 1},
    "override_settings_restore_afterwards": True,
    "clip_skip": 1,
    "save_images": True,
    "send_images": True,
    "do_not_save_grid": False,
    "do_not_save_samples": False,
}


@pytest.mark.parametrize("header", ["", "Basic"])
def test_what_open_webui_sends(served, here, finishing, jobs, header):  # noqa: ARG001
    """backend/open_webui/routers/images.py of 0.12.4, which posts back all options it read. The
    header: where its auth string was never set, and where it is empty."""
    with httpx2.Client(base_url=served.url, headers={"authorization": header}, timeout=20) as http:
        options = http.get(f"{SDAPI}/options").json()
        listed = http.get(f"{SDAPI}/sd-models").json()
        assert {"title", "model_name"} <= set(listed[0])
        options["sd_model_checkpoint"] = "other"
        assert http.post(f"{SDAPI}/options", json=options).status_code == 200
        body = {"prompt": "a", "batch_size": 2, "width": 64, "height": 64, "steps": 5}
        finishing()
        made = http.post(TXT2IMG, json=body | {"negative_prompt": "b"}).json()
        assert (len(made["images"]), "info" in made) == (2, True)
        http.post(f"{SDAPI}/options", json=dict.fromkeys(options))
        assert http.get(f"{SDAPI}/options").json()["sd_model_checkpoint"] == "pix"
    assert only(jobs).request["model"] == "other"


def test_what_librechat_sends(api, finishing):
    """api/app/clients/tools/structured/StableDiffusion.js, but for the size."""
    finishing()
    body = {"prompt": "a", "negative_prompt": "b", "cfg_scale": 4.5, "steps": 22}
    made = api.post(TXT2IMG, json=body | {"width": 64, "height": 64}).json()
    info = json.loads(made["info"])
    assert (info["width"], info["height"], info["seed"] >= 0) == (8, 8, True)
    assert info["infotexts"][0].splitlines()[-1].startswith("Steps: 22")
    assert "," not in made["images"][0]


# Options


def test_options_are_each_keys_own(guarded, made, http, guarded_work, background, jobs):  # noqa: ARG001
    anns, bobs = made("ann"), made("bob")
    ann = WebUIApi(baseurl=f"{guarded.url}{SDAPI}", username="ann", password=anns.reveal())
    bob = WebUIApi(baseurl=f"{guarded.url}{SDAPI}", username=bobs.reveal(), password="x")
    assert ann.set_options({"sd_model_checkpoint": "other"}) is None
    ann.util_set_model("other")
    assert ann.util_get_current_model() == "other"
    assert bob.util_get_current_model() == "pix"
    ann.set_options({"CLIP_stop_at_last_layers": 2, "samples_format": "webp", "more": [1]})
    assert ann.get_options()["samples_format"] == "webp"
    ann.set_options({"sd_model_checkpoint": None})
    assert ann.util_get_current_model() == "pix"


def test_options_count_for_requests_that_do_not_override_them(client, finishing, jobs):
    client.set_options({"sd_model_checkpoint": "tiny/other", "samples_format": "jpg"})
    finishing()
    made = client.txt2img(prompt="a", width=64, height=64)
    assert (made.info["sd_model_name"], made.image.format) == ("other", "JPEG")
    finishing()
    override = {"sd_model_checkpoint": "pix.safetensors [abcdef0123]"}
    client.txt2img(prompt="a", width=64, height=64, override_settings=override)
    assert jobs.page().jobs[0].request["model"] == "pix"


def test_a_model_that_nobody_has(api, finishing, jobs):
    refused = api.post(f"{SDAPI}/options", json={"sd_model_checkpoint": "mine"})
    assert (refused.status_code, refused.json()["error"]) == (404, "model_not_found")
    finishing()
    asked = {"prompt": "a", "override_settings": {"sd_model_checkpoint": "mine"}}
    assert api.post(TXT2IMG, json=asked).status_code == 200
    assert "No model is called 'mine' here; 'pix' took its place." in only(jobs).warnings


# How far it is


def test_nothing_to_do(client):
    told = client.get_progress()
    assert (told["progress"], told["state"]["job_count"], told["current_image"]) == (0.0, 0, None)
    client.util_wait_for_ready()
    assert client.interrupt() == client.skip() == {}


def test_progress_of_a_running_job(client, background, work, jobs, redis, api):
    seen = []

    def end():
        claim = work.claim()
        told = Progress(stage="denoise", step=2, steps=8, ratio=0.25, eta_s=3.0)
        jobs.tell([News(claim, told)])
        redis.set(f"darkroom:preview:{claim.job_id}", picture("webp"))
        seen.append(client.get_progress())
        seen.append(api.get(f"{SDAPI}/progress?skip_current_image=true").json())
        work.finish(claim)

    background(end)
    client.txt2img(prompt="a", width=64, height=64)
    told, without = seen
    assert (told["progress"], told["eta_relative"]) == (0.25, 3.0)
    state = told["state"]
    assert (state["job_count"], state["sampling_step"], state["sampling_steps"]) == (1, 2, 8)
    early = Image.open(io.BytesIO(base64.b64decode(told["current_image"])))
    assert (early.format, early.size) == ("PNG", (8, 8))
    assert without["current_image"] is None


@pytest.mark.parametrize("word", ["interrupt", "skip"])
def test_an_interrupt_stops_the_job_and_its_call(client, background, work, jobs, word):
    background(lambda: (work.claim(), getattr(client, word)()))
    with pytest.raises(RuntimeError) as caught:
        client.txt2img(prompt="a", width=64, height=64)
    status, text = caught.value.args
    assert (status, json.loads(text)["error"]) == (409, "canceled")
    assert only(jobs).status is JobStatus.CANCELED


def test_an_interrupt_stops_no_job_of_others_nor_of_other_apis(http, made, jobs):
    ann, bob = bearer(made("ann")), bearer(made("bob"))
    admin = bearer(made("admin", ("admin",)))
    native = http.post("/api/v1/jobs", json={"prompt": "a"}, headers=ann).json()["id"]
    tagged = {"prompt": "a", "tags": ["a1111"]}
    anns = http.post("/api/v1/jobs", json=tagged, headers=ann).json()["id"]
    for who in (bob, admin):
        assert http.get(f"{SDAPI}/progress", headers=who).json()["state"]["job_count"] == 0
        assert http.post(f"{SDAPI}/interrupt", headers=who).json() == {}
    assert jobs.fetch(anns).status is JobStatus.QUEUED
    assert http.post(f"{SDAPI}/interrupt", headers=ann).json() == {}
    assert jobs.fetch(anns).status is JobStatus.CANCELED
    assert jobs.fetch(native).status is JobStatus.QUEUED


# Errors


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"steps": 0}, "steps: "),
        ({"steps": "many"}, "steps: "),
        ({"width": 63}, "width: "),
        ({"width": 4096}, "width: "),
        ({"batch_size": 3, "n_iter": 3}, "batch_size: "),
        ({"sampler_name": "Restart"}, "sampler_name: This model has no scheduler of that name."),
        ({"seed": -2}, "seed: "),
        ({"cfg_scale": 1e9}, "cfg_scale: "),
        ({"styles": ["none"]}, "styles: There is no style of this name."),
        ({"override_settings": {"CLIP_stop_at_last_layers": 99}}, "CLIP_stop_at_last_layers: "),
        ({"override_settings": []}, "override_settings: "),
        ({"enable_hr": True, "hr_scale": 1}, "hr_scale: "),
        ({"enable_hr": True, "hr_upscaler": "4x"}, "hr_upscaler: No model of this name"),
        ({"enable_hr": True, "hr_resize_x": 128, "hr_resize_y": 96}, "hr_resize_x: Must keep"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(api, jobs, asked, said):
    answer = api.post(TXT2IMG, json={"prompt": "a"} | asked)
    assert answer.status_code == 422, answer.text
    error = answer.json()
    assert set(error) == {"error", "detail", "body", "errors"}
    assert said in error["detail"]
    assert error["errors"] == error["detail"]
    assert jobs.page().jobs == []


@pytest.mark.parametrize(
    ("method", "path", "asked", "status"),
    [
        ("GET", f"{SDAPI}/nothing", {}, 404),
        ("GET", TXT2IMG, {}, 405),
        ("POST", TXT2IMG, {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("POST", TXT2IMG, {"data": {"prompt": "a"}}, 415),
        ("POST", TXT2IMG, {"json": {"prompt": "a" * 2**20}}, 413),
        ("POST", f"{SDAPI}/img2img", {"json": {"prompt": "a"}}, 404),
        ("POST", f"{SDAPI}/interrupt", {"headers": {"origin": "http://evil.example"}}, 403),
    ],
)
def test_every_error_has_the_shape_of_this_api(api, method, path, asked, status):
    answer = api.request(method, path, **asked)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "detail", "body", "errors"}
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("code", "status"), [("out_of_memory", 500), ("unsupported", 422), ("invalid_output", 500)]
)
def test_a_job_that_fails_says_why(client, finishing, jobs, code, status):
    finishing(JobStatus.FAILED, error=JobError(code=code, message="It went wrong."))
    with pytest.raises(RuntimeError) as caught:
        client.txt2img(prompt="a", width=64, height=64)
    told = json.loads(caught.value.args[1])
    assert (caught.value.args[0], told["detail"]) == (status, "It went wrong.")
    assert only(jobs).status is JobStatus.FAILED


# Keys


def test_keys_hold(guarded, http, made):
    for header in ("Basic ", "Basic", "Basic Zm9vOmJhcg=="):
        asked = head(
            f"GET {SDAPI}/options HTTP/1.1", f"Authorization: {header}", "Connection: close"
        )
        raw = answer_and_close(guarded.url, asked)
        assert b" 401 " in raw.split(b"\r\n")[0], header
        assert b'"error": "unauthenticated"' in raw
    reads = bearer(made("reads", ("read",)))
    refused = http.post(TXT2IMG, json={"prompt": "a"}, headers=reads)
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    assert http.get(f"{SDAPI}/options", headers=reads).status_code == 200


def test_without_keys_an_empty_basic_is_no_matter(served, here):  # noqa: ARG001
    asked = head(f"GET {SDAPI}/options HTTP/1.1", "Authorization: Basic ", "Connection: close")
    assert b" 200 " in answer_and_close(served.url, asked).split(b"\r\n")[0]
