"""Webhooks on the command line, and a real keeper that sends them."""

import json
import os
from queue import SimpleQueue

from standardwebhooks import Webhook as Receiver

from tests.commands import invoke, lines
from tests.outside import outside, replies
from tests.running import RunningUp


def test_a_job_is_told_of_and_what_was_given_up_is_sent_again(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    drawn = invoke("webhooks", "secret", *at)
    assert "shown this once" in drawn.stderr
    [secret] = lines(drawn.stdout)
    came: SimpleQueue = SimpleQueue()

    def gone(to, body):
        came.put(body)
        replies(410)(to, body)

    with outside(gone) as server:
        tried = invoke("webhooks", "test", server.url, *at)
        assert (tried.exit_code, lines(tried.stdout)) == (1, ["Its server answered 410."])
        assert json.loads(came.get(timeout=60))["type"] == "test"
        field = f"webhook={json.dumps({'url': server.url})}"
        made = invoke("generate", "cat", "-o", os.devnull, "--field", field, *at)
        assert made.exit_code == 0, made.stderr
        told = json.loads(came.get(timeout=60))
        assert (told["type"], told["data"]["status"]) == ("job.succeeded", "succeeded")
        Receiver(secret).verify(server.asked[-1].body, server.asked[-1].headers)

        while not (found := json.loads(invoke("webhooks", "failed", "--json", *at).stdout)):
            pass
        assert found[0]["job_id"] == told["data"]["id"]
        listed = lines(invoke("webhooks", "failed", *at).stdout)
        assert listed[1].split()[0] == found[0]["id"]
        assert lines(invoke("webhooks", "resend", *at).stdout) == ["1 to be sent again."]
        again = json.loads(came.get(timeout=60))
        assert (again["type"], again["data"]["id"]) == (told["type"], told["data"]["id"])
        server.answer = replies(204)
        assert lines(invoke("webhooks", "test", server.url, *at).stdout) == ["delivered"]
    unknown = invoke("webhooks", "resend", "msg_0_1", *at)
    assert (unknown.exit_code, "No message" in unknown.stderr) == (1, True)
