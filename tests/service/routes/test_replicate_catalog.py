"""Models, files and webhooks of Replicate's API, asked by Replicate's own client."""

import io
import json
from datetime import UTC, datetime

import pytest
from replicate.exceptions import ReplicateError
from replicate.webhook import WebhookValidationError

from darkroom.queue.outbox import take_messages
from darkroom.webhook_messages import headers
from tests.service.conftest import Work, know_models, knows, png
from tests.service.masks import CORNER, corner_png, white_in
from tests.service.routes.test_replicate import CAT, V1

HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
def client(served, here, predicting):  # noqa: ARG001
    return predicting(served)


# Models


def test_models_are_listed_and_read_by_any_of_their_names(client, served):
    assert [each.id for each in client.models.list()] == ["darkroom/pix", "darkroom/other"]
    for name in ("darkroom/pix", "tiny/pix", "darkroom/demo"):
        assert client.models.get(name).latest_version.id == "pix"
    assert client.models.get("darkroom/other+ink").id == "darkroom/other+ink"
    model = client.models.get("darkroom/pix")
    assert model.url == f"{served.url}{V1}/models/darkroom/pix"
    assert model.description == "Does text-to-image, image-to-image."
    assert [each.id for each in model.versions.list()] == ["pix"]


def test_the_schema_of_a_version_tells_the_models_own_values(client):
    version = client.models.get("tiny/other").versions.get("39ed52f2a78e")
    inputs = version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert (inputs["width"]["default"], inputs["scheduler"]["default"]) == (64, "DDIMScheduler")
    assert {"image", "mask", "prompt", "num_outputs"} <= set(inputs)


@pytest.mark.parametrize("name", ["darkroom/pix:pix", "stability-ai/sdxl:39ed52f2a78e"])
def test_a_version_is_run_with_a_look_at_its_schema(client, background, work, name):
    background(work.all)
    assert len(client.run(name, CAT)) == 1


@pytest.mark.parametrize("name", ["black-forest-labs/flux-schnell", f"{'o' * 99}/{'n' * 200}"])
def test_a_name_that_no_model_has_is_read_as_what_would_be_run(client, jobs, name):
    """`use` of clients from 2.0 on reads a model before it runs it."""
    model = client.models.get(name)
    assert (model.id, model.latest_version.id) == ("darkroom/pix", "pix")
    told = f"No model is called {name[:100]!r} here; 'pix' took its place."
    assert model.description == f"{told} Does text-to-image, image-to-image."
    made = client.models.predictions.create(name, CAT)
    assert (jobs.fetch(made.id).request["model"], told in made.logs) == ("pix", True)


# Files


def test_a_picture_is_kept_and_named_as_an_input(client, jobs):
    file = client.files.create(io.BytesIO(png()), metadata={"a": 1})
    assert (file.content_type, file.checksums["sha256"]) == ("image/png", file.etag)
    assert client.files.get(file.id) == file
    assert client.files.list() == [file]
    made = client.predictions.create(version="pix", input=CAT | {"image": io.BytesIO(png())})
    assert jobs.fetch(made.id).request["image"] == file.id
    assert client.files.delete(file.id)
    with pytest.raises(ReplicateError) as caught:
        client.files.get(file.id)
    assert caught.value.status == 404


def test_a_file_is_a_mask_where_it_is_named_as_one(client, redis, jobs, here):
    knows(redis, "pix", "inpaint")
    given = {"image": io.BytesIO(png()), "mask": io.BytesIO(corner_png())}
    made = client.predictions.create(version="pix", input=CAT | given)
    assert white_in(here, jobs.fetch(made.id).request["mask_image"]) == CORNER


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"json": {}}, 415),
        ({"files": {"other": ("a.png", png())}}, 422),
        ({"files": {"content": ("a.png", b"no picture")}}, 422),
        (
            {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            400,
        ),
    ],
)
def test_what_is_no_file_is_refused(api, asked, status):
    answer = api.post(f"{V1}/files", **asked)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_files_are_each_keys_own(http, guarded, made, predicting):  # noqa: ARG001
    mine, theirs = (predicting(guarded, made(name).reveal()) for name in ("mine", "theirs"))
    file = mine.files.create(io.BytesIO(png()))
    assert theirs.files.list() == []
    for ask in (theirs.files.get, theirs.files.delete):
        with pytest.raises(ReplicateError) as caught:
            ask(file.id)
        assert caught.value.status == 404
    with pytest.raises(ReplicateError) as caught:
        theirs.predictions.create(version="pix", input=CAT | {"image": file.urls["get"]})
    assert caught.value.status == 422
    assert mine.accounts.current().username == "mine"


def test_hardware_is_the_devices_of_workers(client, announced):
    announced(device="cuda:0")
    assert [each.sku for each in client.hardware.list()] == ["cuda:0"]


# Webhooks


@pytest.fixture
def hooked(telling, redis, made, predicting):
    """A client of a service that tells."""
    know_models(redis)
    return predicting(telling, made("hooked").reveal())


def test_a_webhook_is_told_of_the_prediction_itself(hooked, telling, jobs):
    made = hooked.predictions.create(version="pix", input=CAT, webhook=HOOK)
    Work(jobs, telling.here).all()
    secret = hooked.webhooks.default.secret()
    started, ended = jobs.carry_out(take_messages("t", 9))
    assert (started.type, ended.type) == ("job.started", "job.succeeded")
    assert ended.secrets.current == secret.key
    signed = headers(ended.id, ended.body(), ended.secrets, datetime.now(UTC))
    hooked.webhooks.validate(headers=signed, body=ended.body().decode(), secret=secret)
    with pytest.raises(WebhookValidationError):
        hooked.webhooks.validate(headers=signed, body="{}", secret=secret)
    told = hooked.predictions.get(made.id)
    sent = json.loads(ended.body())
    assert (sent["id"], sent["status"], sent["input"]) == (made.id, "succeeded", told.input)
    assert sent["urls"]["get"] == told.urls["get"]
    assert sent["output"] == [each.partition("?")[0] for each in told.output]


@pytest.mark.parametrize(
    ("given", "events"),
    [
        ({}, {"job.canceled", "job.failed", "job.started", "job.succeeded"}),
        ({"webhook_events_filter": ["completed"]}, {"job.canceled", "job.failed", "job.succeeded"}),
        ({"webhook_events_filter": ["start", "logs"]}, {"job.started"}),
        ({"webhook_events_filter": ["output"]}, {"job.succeeded"}),
    ],
)
def test_what_is_told(hooked, jobs, given, events):
    made = hooked.predictions.create(version="pix", input=CAT, webhook=HOOK, **given)
    assert set(jobs.fetch(made.id).webhook.events) == events


def test_logs_alone_are_not_told(hooked, jobs):
    given = {"webhook": HOOK, "webhook_events_filter": ["logs"]}
    made = hooked.predictions.create(version="pix", input=CAT, **given)
    assert jobs.fetch(made.id).webhook is None
    assert "nobody is told" in made.logs


def test_an_old_name_of_the_webhook(hooked, jobs):
    made = hooked.predictions.create(version="pix", input=CAT, webhook_completed=HOOK)
    assert "job.started" not in jobs.fetch(made.id).webhook.events


def test_where_a_webhook_may_not_lead(hooked):
    with pytest.raises(ReplicateError) as caught:
        hooked.predictions.create(version="pix", input=CAT, webhook="http://10.0.0.1/hook")
    assert (caught.value.status, caught.value.detail[:13]) == (422, "webhook.url: ")


def test_the_secret_stays_and_reading_alone_does_not_show_it(hooked, telling, made, predicting):
    assert hooked.webhooks.default.secret() == hooked.webhooks.default.secret()
    reads = predicting(telling, made("reads", ("read",)).reveal())
    with pytest.raises(ReplicateError) as caught:
        reads.webhooks.default.secret()
    assert caught.value.status == 403


def test_without_webhooks_there_is_no_secret_and_nobody_is_told(client):
    for ask in (
        client.webhooks.default.secret,
        lambda: client.predictions.create(version="pix", input=CAT, webhook=HOOK),
    ):
        with pytest.raises(ReplicateError, match="no webhooks here"):
            ask()
