import pytest
from pydantic import ValidationError

from darkroom.webhook import ENDS, Webhook


def test_without_a_word_it_is_told_how_a_job_ends() -> None:
    assert Webhook(url="https://a.example/").events == list(ENDS)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": 1},
        {"url": "https://a/" + "x" * 2048},
        {"url": "https://a/", "events": []},
        {"url": "https://a/", "events": ["done"]},
        {"url": "https://a/", "events": ["job.failed"] * 5},
        {"url": "https://a/", "secret": "x"},
        {"url": "https://a/", "prediction_root": "darkroom.example"},
        {"url": "https://a/", "prediction_root": "https://darkroom.example/?a=b"},
        {"url": "https://a/", "prediction_root": "https://" + "x" * 300},
    ],
)
def test_what_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Webhook.model_validate(wrong)


def test_redis_keeps_it_with_the_host() -> None:
    webhook = Webhook(url="https://A.example:8443/x?y=z", events=["job.started"])
    assert webhook.kept()["host"] == "a.example:8443"
    assert Webhook.of_kept(webhook.kept()) == webhook
    told = Webhook(url="https://a.example", prediction_root="https://darkroom.example/below")
    assert Webhook.of_kept(told.kept()) == told
