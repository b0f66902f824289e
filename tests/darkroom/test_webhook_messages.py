"""Signatures are judged by the library that Standard Webhooks publishes for receivers."""

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Receiver
from standardwebhooks import WebhookVerificationError

from darkroom.webhook_messages import (
    JITTER,
    RETRY_S,
    Message,
    Secrets,
    body,
    headers,
    new_secret,
    next_try_s,
)

NOW = datetime.now(UTC)
IN_90_S = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")


def signed(sent: bytes, secrets: Secrets, now: datetime | None = None) -> dict[str, str]:
    """`now`: by the clock unless it is given; receivers take no message that is minutes old."""
    return headers("msg_1", sent, secrets, now or datetime.now(UTC))


def test_a_secret_is_drawn_anew_each_time() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(b64decode(first.removeprefix("whsec_"))) == 32


def test_a_receiver_takes_what_is_signed_and_nothing_else() -> None:
    secrets = Secrets(current=new_secret(), created_at=NOW)
    sent = body("job.failed", NOW, {"prompt": "caf\u00e9 \U0001f600"})
    told = Receiver(secrets.current).verify(sent, signed(sent, secrets))
    assert told == {
        "type": "job.failed",
        "timestamp": NOW.isoformat().replace("+00:00", "Z"),
        "data": {"prompt": "caf\u00e9 \U0001f600"},
    }
    with pytest.raises(WebhookVerificationError):
        Receiver(secrets.current).verify(sent + b" ", signed(sent, secrets))
    with pytest.raises(WebhookVerificationError):
        Receiver(new_secret()).verify(sent, signed(sent, secrets))


def test_both_secrets_sign_until_the_older_ends() -> None:
    older, until = new_secret(), NOW + timedelta(hours=1)
    secrets = Secrets(current=new_secret(), created_at=NOW, previous=older, previous_until=until)
    for secret in (secrets.current, older):
        Receiver(secret).verify(b"{}", signed(b"{}", secrets))
    assert len(signed(b"{}", secrets)["webhook-signature"].split(" ")) == 2
    assert len(signed(b"{}", secrets, until)["webhook-signature"].split(" ")) == 1


def test_times_between_attempts_are_those_of_the_specification() -> None:
    waits = [next_try_s(attempts, None, NOW) for attempts in range(1, 11)]
    assert waits[-1] is None
    for waited, planned in zip(waits[:-1], RETRY_S, strict=True):
        assert waited is not None
        assert planned <= waited <= planned * (1 + JITTER)
    assert len({next_try_s(1, None, NOW) for _ in range(10)}) > 1


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("120", 120, 120),
        ("99999999999999", 86400, 86400),
        pytest.param(IN_90_S, 89, 90, id="date"),
        *((said, 5, 6) for said in ("1", "-5", "soon", "", "\u0661", "1e9")),
    ],
)
def test_a_receiver_may_ask_for_more_time(said: str, least: float, most: float) -> None:
    waits_s = next_try_s(1, said, NOW)
    assert waits_s is not None
    assert least <= waits_s <= most


def test_of_a_job_that_is_gone_the_message_tells_its_id_and_how_it_ended() -> None:
    job = ("job.canceled", "job_1", "https://a.example/", "owner", "canceled")
    message = Message("msg_1", "token", *job, 0, NOW, None, None)
    told = json.loads(message.body())
    assert told["data"] == {"id": "job_1", "object": "job", "status": "canceled"}


def test_a_prediction_that_is_no_longer_kept() -> None:
    message = Message(
        id="msg_1",
        token="t",
        type="job.canceled",
        job_id="job_1",
        url="https://a.example",
        owner="",
        status="canceled",
        attempts=0,
        at=NOW,
        job=None,
        secrets=None,
        root="https://darkroom.example",
    )
    told = json.loads(message.body())
    assert (told["id"], told["status"], told["data_removed"]) == ("job_1", "canceled", True)
