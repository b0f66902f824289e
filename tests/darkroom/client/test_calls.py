"""What is asked, to the letter, and answers that are none of a Darkroom."""

import pytest
from httpx2 import Request, Response

from darkroom.client import calls
from darkroom.client.refusals import NoServiceError
from darkroom.request_parts import Lora
from darkroom.tasks import TASKS
from tests.scripted import job


def answer(body: str, status: int = 200) -> Response:
    return Response(
        status, text=body, request=Request("GET", "http://127.0.0.1:8000/api/v1/jobs?x=1")
    )


def test_fields_by_name_go_before_others_and_objects_become_json() -> None:
    body = calls.body_of({"prompt": "cat", "seed": 1}, {"seed": 2, "loras": (Lora(name="ink"),)})
    assert body == {"prompt": "cat", "seed": 2, "loras": [{"name": "ink", "scale": 1.0}]}
    assert calls.body_of(None, {}) == {}


def test_a_whole_request_is_a_body() -> None:
    fields = {"task": "text-to-image", "model": "m", "width": 8, "height": 8, "prompt": "cat"}
    fields |= {"num_inference_steps": 1, "scheduler": "s", "seed": 1, "num_images": 1}
    request = TASKS["text-to-image"].request.model_validate(fields)
    assert fields.items() <= calls.body_of(request, {}).items()


def test_an_id_cannot_lead_elsewhere() -> None:
    assert calls.job_path("../models?x#y") == "/api/v1/jobs/..%2Fmodels%3Fx%23y"
    assert calls.image("a/b").path == "/api/v1/images/a%2Fb"
    assert calls.batch("a/b").path == "/api/v1/batches/a%2Fb"
    assert calls.file_path("a/b") == "/api/v1/files/a%2Fb"


def test_only_what_asks_may_be_asked_twice_below_any_path() -> None:
    assert calls.ask("GET", "models", {}).repeatable
    assert not calls.ask("POST", "webhooks/secret", {}).repeatable


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>", r"^http://127.0.0.1:8000 answers, but not as a Darkroom does \(/api/v1/jobs\)"),
        ('{"id": 1}', "answer is no job"),
    ],
)
def test_another_service_is_not_taken_for_a_darkroom(body: str, said: str) -> None:
    with pytest.raises(NoServiceError, match=said):
        calls.job("job_1").read(answer(body))


def test_a_newer_service_may_say_more() -> None:
    progress = {"stage": "denoise", "step": 1, "temperature": "high"}
    found = calls.job("job_1").read(answer(job(mood="good", progress=progress).data.decode()))
    assert found.progress.step == 1
