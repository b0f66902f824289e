"""Google's API of pictures over real sockets.

Requests of programs that are too large to run here are written from their sources, named at each,
with nothing left out, and of the answers is looked at what they read.
"""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from darkroom.job import JobError, JobStatus
from darkroom.queue.queue import queue_bell
from tests.service.conftest import bearer, knows, only, png
from tests.service.dialects.test_calls import left
from tests.service.routes.test_openai import opened
from tests.service.wire import JSON, connected, head
from tests.waiting import until

MODELS = "/google/v1beta/models"
PREDICT, GENERATE = f"{MODELS}/pix:predict", f"{MODELS}/pix:generateContent"
WORDS = {"contents": [{"parts": [{"text": "a cat"}]}]}
IMAGEN = {"instances": [{"prompt": "a cat"}]}


def blob(**picture):
    return {"mimeType": "image/png", "data": base64.b64encode(png(**picture)).decode()}


@pytest.fixture
def ask(api, finishing):
    """Asks for pictures and returns the answer."""

    def ask(path, body, **headers):
        finishing()
        answer = api.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-request-id"]
        assert answer.headers["x-darkroom-job-id"].startswith("job_")
        return answer.json()

    return ask


def inline(answer):
    """The pictures of candidates, as clients look for them."""
    return [
        part["inlineData"]["data"]
        for each in answer["candidates"]
        for part in each["content"]["parts"]
        if part.get("inlineData", {}).get("data")
    ]


# Open WebUI 0.12.4, engine `gemini`: open_webui/routers/images.py


OPEN_WEBUI = {"x-goog-api-key": ""}


@pytest.mark.parametrize("model", ["imagen-3.0-generate-002", "pix"])
def test_what_open_webui_sends_to_predict(ask, jobs, model):
    """The first is what it asks for where no model is set."""
    parameters = {"sampleCount": 2, "outputOptions": {"mimeType": "image/png"}}
    body = {"instances": {"prompt": "a cat"}, "parameters": parameters}
    made = ask(f"{MODELS}/{model}:predict", body, **OPEN_WEBUI)
    pictures = [opened(image["bytesBase64Encoded"]) for image in made["predictions"]]
    assert [each.getpixel((0, 0)) for each in pictures] == [(0, 9, 9), (1, 9, 9)]
    request = only(jobs).request
    assert (request["model"], request["prompt"], request["num_images"]) == ("pix", "a cat", 2)
    assert "warnings" not in made or "took its place" not in str(made["warnings"])


def test_what_open_webui_sends_to_generate_content(ask):
    [picture] = inline(ask(GENERATE, WORDS, **OPEN_WEBUI))
    assert opened(picture).format == "PNG"


@pytest.mark.parametrize("count", [1, 3])
def test_an_edit_of_open_webui(ask, jobs, redis, count):
    """Whatever a picture is, it says `image/png`."""
    knows(redis, "pix", "edit")
    parts = [{"text": "bluer"}]
    for n in range(count):
        data = base64.b64encode(png(color=(n, 0, 0))).decode()
        parts.append({"inline_data": {"mime_type": "image/png", "data": data}})
    assert len(inline(ask(GENERATE, {"contents": [{"parts": parts}]}, **OPEN_WEBUI))) == 1
    request = only(jobs).request
    assert (request["task"], request["prompt"], len(request["images"])) == ("edit", "bluer", count)


# n8n's Gemini node: packages/@n8n/nodes-langchain/nodes/vendors/GoogleGemini/actions/image/


def test_what_n8n_sends(api, ask, jobs):
    """It shows models with `image` in their names, and asks with `models/...` as it found them."""
    listed = api.get(MODELS, params={"pageSize": 1000, "key": "none"}).json()["models"]
    shown = [each["name"] for each in listed if "image" in each["name"]]
    assert "models/imagen-4.0-generate-001" in shown
    kinds = {"generationConfig": {"responseModalities": ["IMAGE", "TEXT"]}}
    body = {"contents": [{"role": "user", "parts": [{"text": "a cat"}]}], **kinds}
    name = "models/gemini-2.5-flash-image"
    assert name in shown
    assert len(inline(ask(f"/google/v1beta/{name}:generateContent?key=none", body))) == 1
    assert only(jobs).request["prompt"] == "a cat"


# Fields


def test_all_that_imagen_has(ask, jobs):
    given = {"sampleCount": 3, "aspectRatio": "16:9", "negativePrompt": "a dog", "seed": 7}
    given |= {"guidanceScale": 3, "outputOptions": {"mimeType": "image/jpeg"}}
    given["outputOptions"]["compressionQuality"] = 50
    ignored = {"addWatermark": False, "personGeneration": "allow_all", "language": "auto"}
    made = ask(PREDICT, {"instances": [{"prompt": "a cat"}], "parameters": given | ignored})
    assert {each["mimeType"] for each in made["predictions"]} == {"image/jpeg"}
    assert opened(made["predictions"][2]["bytesBase64Encoded"]).format == "JPEG"
    request = only(jobs).request
    expected = {"num_images": 3, "width": 112, "height": 64, "negative_prompt": "a dog"}
    expected |= {"seed": 7, "guidance_scale": 3.0, "task": "text-to-image"}
    assert expected.items() <= request.items()
    assert (request["output"]["format"], request["output"]["quality"]) == ("jpeg", 50)


def test_all_that_gemini_has(ask, jobs):
    """By the names with underscores as well."""
    shape = {"aspect_ratio": "1:2", "image_output_options": {"mime_type": "image/webp"}}
    config = {"candidate_count": 2, "seed": 7, "image_config": shape, "temperature": 2}
    made = ask(GENERATE, WORDS | {"generation_config": config, "safetySettings": [{}]})
    first, second = made["candidates"]
    assert (first["index"], second["index"], second["finishReason"]) == (0, 1, "STOP")
    assert first["content"]["parts"][0]["inlineData"]["mimeType"] == "image/webp"
    job = only(jobs)
    assert (made["modelVersion"], made["responseId"]) == ("pix", job.id)
    expected = {"num_images": 2, "seed": 7, "width": 64, "height": 128}
    assert expected.items() <= job.request.items()


def test_an_edit_may_have_another_shape(ask, jobs, redis):
    knows(redis, "pix", "edit")
    parts = [{"text": "wider"}, {"inlineData": blob(size=(64, 64))}]
    config = {"imageConfig": {"aspectRatio": "2:1"}}
    ask(GENERATE, {"contents": {"parts": parts}, "generationConfig": config})
    assert (only(jobs).request["width"], only(jobs).request["height"]) == (128, 64)


def test_a_conversation_goes_on_from_the_newest_picture(ask, api, jobs):
    """What was said earlier does not count, and neither does what the system says: it is told."""
    file = api.post("/api/v1/files", content=png(color=(1, 2, 3))).json()["id"]
    told = [
        {"role": "user", "parts": [{"text": "a cat"}, {"inlineData": blob()}]},
        {"role": "model", "parts": [{"text": "Here."}, {"fileData": {"fileUri": file}}]},
        {"role": "user", "parts": [{"text": "now"}, {"text": "a dog"}]},
    ]
    made = ask(GENERATE, {"contents": told, "systemInstruction": {"parts": [{"text": "Be."}]}})
    request = only(jobs).request
    assert (request["prompt"], request["image"]) == ("now\na dog", file)
    said = " ".join(made["warnings"])
    for words in ("only the last turn", "systemInstruction", "does not follow instructions"):
        assert words in said


def test_a_picture_that_was_made_here_goes_in_by_its_address(ask, served, jobs):
    ask(PREDICT, IMAGEN)
    url = f"{served.url}{only(jobs).images[0].url}"
    parts = [{"text": "a dog"}, {"file_data": {"file_uri": url, "mime_type": "image/png"}}]
    ask(GENERATE, {"contents": [{"parts": parts}]})
    assert {job.request["task"] for job in jobs.page().jobs} == {"text-to-image", "image-to-image"}


WRONG = [None, True, -1, 0, 1.5, 10**30, "", "x", "1:0", [], {}, [[]], [None], {"x": 1}]
FIELDS = {
    (PREDICT, "parameters", "sampleCount"): (),
    (PREDICT, "parameters", "aspectRatio"): (),
    (PREDICT, "parameters", "sampleImageSize"): (),
    (PREDICT, "parameters", "outputOptions"): ({}, {"x": 1}),
    (PREDICT, "parameters", "negativePrompt"): ("", "x", "1:0"),
    (PREDICT, "parameters", "guidanceScale"): (0, 1.5),
    (PREDICT, "parameters", "seed"): (0, -1),
    (GENERATE, "generationConfig", "candidateCount"): (),
    (GENERATE, "generationConfig", "seed"): (0, -1),
    (GENERATE, "generationConfig", "responseModalities"): ([],),
    (GENERATE, "generationConfig", "imageConfig"): ({}, {"x": 1}),
}
"""With what is right of these, beside null; -1 draws a seed, as in the native API."""


@pytest.mark.parametrize(("field", "right"), FIELDS.items())
def test_no_wrong_value_is_passed_over(http, made, field, right):
    """What is right is refused as well, since the key has its job already."""
    path, group, name = field
    headers = bearer(made(max_active=1))
    assert http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=headers).status_code == 202
    whole = IMAGEN if path == PREDICT else WORDS
    for value in WRONG:
        answer = http.post(path, json=whole | {group: {name: value}}, headers=headers)
        is_right = any(type(value) is type(each) and value == each for each in (None, *right))
        if is_right:
            assert answer.status_code == 429, (value, answer.text)
            assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
        else:
            assert_refused(answer, f"{group}.{name}")


def assert_refused(answer, field):
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT"), (field, answer.text)
    assert set(error) == {"code", "message", "status", "details"}
    assert error["code"] == answer.status_code
    _, bad = error["details"]
    assert bad["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert field in bad["fieldViolations"][0]["field"]
    assert bad["fieldViolations"][0]["description"] in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (PREDICT, {}, "instances"),
        (PREDICT, {"instances": []}, "instances"),
        (PREDICT, {"instances": [{}]}, "instances[0].prompt"),
        (PREDICT, {"instances": [{"prompt": 1}]}, "instances[0].prompt"),
        (PREDICT, {"instances": [{"prompt": "a"}, {"prompt": "b"}]}, "instances"),
        (PREDICT, {"instances": [{"prompt": "a", "image": {}, "mask": {"x": 1}}]}, "instances[0]"),
        (PREDICT, {"instances": "a cat"}, "instances"),
        (PREDICT, IMAGEN | {"parameters": []}, "parameters"),
        (PREDICT, IMAGEN | {"parameters": {"sampleCount": 5}}, "parameters.sampleCount"),
        (PREDICT, IMAGEN | {"parameters": {"aspectRatio": "99:1"}}, "parameters.aspectRatio"),
        (PREDICT, IMAGEN | {"parameters": {"sampleImageSize": "4K"}}, "parameters.sampleImageSize"),
        (PREDICT, IMAGEN | {"parameters": {"outputOptions": {"mimeType": "image/gif"}}}, "mimeT"),
        (PREDICT, IMAGEN | {"parameters": {"outputOptions": {"compressionQuality": 101}}}, "compr"),
        (GENERATE, {}, "contents"),
        (GENERATE, {"contents": []}, "contents"),
        (GENERATE, {"contents": "a cat"}, "contents"),
        (GENERATE, {"contents": [{"role": "model", "parts": [{"text": "a"}]}]}, "contents"),
        (GENERATE, {"contents": [{"parts": []}]}, "contents"),
        (GENERATE, {"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        (GENERATE, {"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0]"),
        (GENERATE, {"contents": [{"parts": [{"inlineData": {}}]}]}, "inlineData.data"),
        (GENERATE, {"contents": [{"parts": [{"inlineData": {"data": "no"}}]}]}, "contents"),
        (
            GENERATE,
            {"contents": [{"parts": [{"text": "a"}, *[{"inlineData": blob()}] * 2]}]},
            "contents",
        ),
        (
            GENERATE,
            {
                "contents": [{"parts": [{"text": "a"}, {"inlineData": blob()}]}],
                "generationConfig": {"imageConfig": {"imageSize": "512"}},
            },
            "generationConfig.imageConfig.imageSize",
        ),
        (
            GENERATE,
            WORDS | {"generationConfig": {"candidateCount": 5}},
            "generationConfig.candidateCount",
        ),
        (
            GENERATE,
            WORDS | {"generationConfig": {"responseModalities": ["TEXT"]}},
            "generationConfig.responseModalities",
        ),
        (
            GENERATE,
            WORDS | {"generationConfig": {"imageConfig": {"imageSize": "2K"}}},
            "generationConfig.imageConfig.imageSize",
        ),
    ],
)
def test_what_is_wrong_is_named_as_there(api, path, body, field):
    assert_refused(api.post(path, json=body), field)


def test_a_size_that_is_named(ask, api, jobs):
    parameters = {"sampleImageSize": "512", "aspectRatio": "1:1"}
    refused = api.post(PREDICT, json=IMAGEN | {"parameters": parameters})
    assert_refused(refused, "parameters.aspectRatio")  # `pix` makes 65536 pixels
    parameters |= {"aspectRatio": "2:1"}
    ask(f"{MODELS}/other:predict", IMAGEN | {"parameters": parameters})
    assert (only(jobs).request["width"], only(jobs).request["height"]) == (728, 360)


# Errors


def test_other_refusals_have_the_same_shape(api):
    for refused, status, word in (
        (api.get(f"{MODELS}/pix+nothing"), 404, "NOT_FOUND"),
        (api.post(f"{MODELS}/pix:streamGenerateContent", json=WORDS), 404, "NOT_FOUND"),
        (api.post(f"{MODELS}/pix+nothing:predict", json=IMAGEN), 404, "NOT_FOUND"),
        (api.get("/google/v2/models"), 404, "NOT_FOUND"),
        (api.delete(MODELS), 405, "INVALID_ARGUMENT"),
        (api.post(PREDICT, content=b"{", headers={"Content-Type": "application/json"}), 400, None),
        (api.post(PREDICT, content=b"{}", headers={"Content-Type": "text/plain"}), 415, None),
        (api.post(PREDICT, content=b"x" * 2**21, headers={"Content-Type": "x"}), 413, None),
    ):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (status, status)
        assert error["status"] == (word or "INVALID_ARGUMENT")
        assert error["message"]
        [info] = error["details"]
        assert (info["domain"], info["reason"].isupper()) == ("darkroom", True)


@pytest.mark.parametrize(
    ("code", "status", "word"),
    [
        ("invalid_output", 500, "INTERNAL"),
        ("out_of_memory", 500, "INTERNAL"),
        ("unsupported", 400, "INVALID_ARGUMENT"),
        ("deadline_exceeded", 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_job_that_fails_is_told_and_not_asked_for_again(
    api,
    finishing,
    jobs,
    code,
    status,
    word,
):
    finishing(JobStatus.FAILED, error=JobError(code=code, message="It is so."))
    refused = api.post(GENERATE, json=WORDS)
    error = refused.json()["error"]
    assert (refused.status_code, error["status"], error["message"]) == (status, word, "It is so.")
    assert error["details"][0]["reason"] == code.upper()
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["x-darkroom-job-id"] == only(jobs).id


def test_what_was_withheld_is_told(api, background, work):
    def withhold(count):
        claim = work.claim()
        images = [
            image.model_copy(update={"url": None, "flagged": True}) if n < count else image
            for n, image in enumerate(work.images(claim))
        ]
        assert work.queue.finish(claim, JobStatus.SUCCEEDED, images=images) == "committed"

    body = IMAGEN | {"parameters": {"sampleCount": 2}}
    background(lambda: withhold(1))
    made = api.post(PREDICT, json=body).json()
    assert len(made["predictions"]) == 1
    assert "1 of 2 pictures were withheld." in made["warnings"]
    background(lambda: withhold(2))
    refused = api.post(PREDICT, json=body)
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert refused.json()["error"]["details"][0]["reason"] == "SAFETY_BLOCKED"


def test_a_job_that_is_canceled(api, work):
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(api.post, PREDICT, json=IMAGEN)
        work.queue.wait([queue_bell("pix")], 30)
        [job] = work.queue.page().jobs
        api.post(f"/api/v1/jobs/{job.id}/cancel")
        told = answer.result()
    assert (told.status_code, told.json()["error"]["status"]) == (499, "CANCELLED")


def test_a_client_that_goes_away_gives_its_job_up(served, here, redis, jobs):
    body = json.dumps(WORDS).encode()
    with connected(served.url) as connection:
        told = head(f"POST {GENERATE} HTTP/1.1", JSON, f"Content-Length: {len(body)}")
        connection.sendall(told + body)
        until(lambda: here.feed.waiters)
    until(lambda: left(redis) == [only(jobs).id])


def test_an_idempotency_key_is_honoured(api, work, jobs):
    key = {"Idempotency-Key": "order-7"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.post, PREDICT, json=IMAGEN, headers=key)
        work.all()
        again = api.post(PREDICT, json=IMAGEN, headers=key)
    assert first.result().json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert only(jobs)


# Models


def test_models(api, redis):
    knows(redis, "other", "edit")
    listed = {each["name"]: each for each in api.get(MODELS).json()["models"]}
    both = ["predict", "generateContent"]
    expected = {"pix": both, "demo": both, "imagen-3.0-generate-002": both}
    expected |= {"other": both[1:]}
    assert {name: listed[f"models/{name}"]["supportedGenerationMethods"] for name in expected} == (
        expected
    )
    for name in ("pix", "imagen-3.0-generate-002"):
        assert api.get(f"{MODELS}/{name}").json() == listed[f"models/{name}"]
    assert api.get("/google/v1/models/pix").json() == listed["models/pix"]
    assert api.get(f"{MODELS}/tiny/pix").json()["name"] == "models/tiny/pix"


def test_models_that_only_enlarge_are_not_listed(api, redis):
    knows(redis, "other", "upscale")
    names = {each["name"] for each in api.get(MODELS).json()["models"]}
    assert "models/pix" in names
    assert "models/other" not in names


# Keys


def test_a_key_comes_in_googles_header_or_in_the_address(http, made):
    token = made()
    key = token.reveal()
    for sent in (
        {"headers": {"x-goog-api-key": key}},
        {"headers": bearer(token)},
        {"params": {"key": key}},
        {"params": {"key": key}, "headers": {"x-goog-api-key": key}},
    ):
        assert http.get(MODELS, **sent).status_code == 200, sent
    for sent in (
        {},
        {"headers": {"x-goog-api-key": ""}},
        {"headers": {"x-goog-api-key": key[:-1]}},
        {"params": {"key": ""}},
        {"params": {"key": key[:-1]}},
        {"params": [("key", key), ("key", key)]},
        {"params": {"key": key}, "headers": bearer(made("other"))},
    ):
        refused = http.get(MODELS, **sent)
        error = refused.json()["error"]
        assert (refused.status_code, error["status"]) == (401, "UNAUTHENTICATED"), sent


def test_no_other_path_takes_a_key_from_the_address(http, made):
    for path in ("/api/v1/jobs", "/v1/models", "/googles/v1beta/models", "/google"):
        assert http.get(path, params={"key": made(path).reveal()}).status_code == 401, path


def test_a_key_sees_only_its_own(guarded, http, made):
    mine, others = made("mine"), made("others")
    file = http.post("/api/v1/files", content=png(), headers=bearer(others)).json()["id"]
    parts = [{"text": "a dog"}, {"fileData": {"fileUri": file}}]
    headers = {"x-goog-api-key": mine.reveal()}
    body = {"contents": [{"parts": parts}]}
    stranger = httpx2.post(f"{guarded.url}{GENERATE}", json=body, headers=headers)
    assert_refused(stranger, "contents")
