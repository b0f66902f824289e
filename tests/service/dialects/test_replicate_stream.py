"""Streams of predictions, read by Replicate's own client."""

import io

import httpx2
import pytest
from PIL import Image

from darkroom.job import JobError, JobStatus, Progress
from darkroom.queue.queue import News
from tests.service.routes.test_replicate import CAT
from tests.waiting import until


@pytest.fixture
def client(served, here, predicting):  # noqa: ARG001
    return predicting(served)


def test_a_stream_tells_warnings_and_pictures(client, work):
    made = client.predictions.create(version="nobody/knows", input=CAT | {"num_outputs": 2})
    work.all()
    *logs, first, second, done = made.stream()
    assert {each.event.value for each in logs} == {"logs"}
    assert "took its place" in logs[0].data
    assert [first.event.value, second.event.value, done.event.value] == ["output"] * 2 + ["done"]
    pictures = [Image.open(io.BytesIO(httpx2.get(each.data).content)) for each in (first, second)]
    assert [each.getpixel((0, 0)) for each in pictures] == [(0, 9, 9), (1, 9, 9)]


def test_a_stream_follows_a_job_to_its_end(served, client, background, work, jobs):
    def end():
        claim = work.claim()
        jobs.tell([News(claim, Progress(stage="denoise", step=10, steps=20, ratio=0.5))])
        jobs.finish(claim, JobStatus.FAILED, error=JobError(code="x", message="It went wrong."))

    background(end)
    told = []
    with pytest.raises(RuntimeError, match="It went wrong"):
        told.extend(client.stream("darkroom/pix", input=CAT))
    until(lambda: not served.here.feed.waiters)


def test_the_stream_of_a_canceled_job_says_so(api, client):
    made = client.predictions.create(version="pix", input=CAT)
    made.cancel()
    text = api.get(made.urls["stream"]).text
    assert 'event: done\ndata: {"reason": "canceled"}\nid: ' in text


def test_progress_is_read_from_logs(client, work, jobs):
    made = client.predictions.create(version="pix", input=CAT)
    claim = work.claim()
    jobs.tell([News(claim, Progress(stage="load", detail="the model pix"))])
    made.reload()
    assert made.logs.endswith("load the model pix")
    assert made.progress is None
    jobs.tell([News(claim, Progress(stage="denoise", step=5, steps=20, ratio=0.2))])
    made.reload()
    progress = made.progress
    assert (progress.percentage, progress.current, progress.total) == (0.25, 5, 20)


def test_a_stream_needs_no_header_where_keys_are_asked_for(
    http, guarded, made, guarded_work, predicting
):
    client = predicting(guarded, made().reveal())
    prediction = client.predictions.create(version="pix", input=CAT)
    guarded_work.all()
    stream = prediction.urls["stream"]
    text = http.get(stream).text
    assert text.count("event: output") == 1
    assert http.get(stream.partition("?")[0]).status_code == 401
    other = stream.replace(prediction.id, f"job_{'0' * 32}")
    assert http.get(other).status_code == 401
