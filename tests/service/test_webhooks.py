"""Which jobs may have a webhook, and what a test of a receiver sends."""

import asyncio
from datetime import UTC, datetime
from ipaddress import ip_network

import httpx2
from standardwebhooks import Webhook as Receiver

from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import Policy
from darkroom.webhook_messages import Secrets, new_secret
from service.webhooks import send_test
from tests.outside import outside, replies

OUTBOUND = Outbound(Policy(networks=(ip_network("127.0.0.1/32"),)))


def test_a_test_is_a_signed_message_about_no_job() -> None:
    secrets = Secrets(current=new_secret(), created_at=datetime.now(UTC))
    with outside(replies(204)) as server:
        tried = asyncio.run(send_test(OUTBOUND, server.url, "ann", secrets))
        server.answer = replies(500)
        again = asyncio.run(send_test(OUTBOUND, server.url, "ann", secrets))
        asked, _ = server.asked
    told = Receiver(secrets.current).verify(asked.body, asked.headers)
    assert (told["type"], told["data"]["status"]) == ("test", "queued")
    assert asked.headers["webhook-id"].startswith("msg_test_")
    assert (tried.outcome, again.why) == ("delivered", "Its server answered 500.")


def test_where_there_are_none_the_field_says_so(api: httpx2.Client) -> None:
    body = {"prompt": "a cat", "webhook": {"url": "https://a.example/"}}
    answer = api.post("/api/v1/jobs", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/webhook"
    assert "DARKROOM_WEBHOOKS" in error["detail"]
