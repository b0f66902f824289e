"""A reply of Redis gets lost and the client library sends the command again: one effect."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.job import JobStatus, Progress
from darkroom.queue import batches
from darkroom.queue.accepting import NewJob, Terms
from darkroom.queue.connection import connect
from darkroom.queue.queue import Claim, News, Queue, queue_names
from tests.begun import begun


class LossyWire:
    """Passes bytes on to a server, and once, when asked, hangs up instead of passing the reply."""

    def __init__(self, path: Path, server: Path) -> None:
        self.url = f"unix://{path}"
        self.lose_next = False
        self.lost = 0
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self._server))
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(2**16)
                    if end is server and self.lose_next:
                        self.lose_next = False
                        self.lost += 1
                        data = b""
                    if not data:
                        return
                    (client if end is server else server).sendall(data)


@pytest.fixture
def wire(valkey: RedisServer, tmp_path: Path) -> Iterator[LossyWire]:
    wire = LossyWire(tmp_path / "wire", valkey.dir / "socket")
    yield wire
    wire.close()


@pytest.fixture
def queue(wire: LossyWire, redis: Redis) -> Iterator[Queue]:
    with connect(wire.url) as client:
        queue = Queue(client)
        live(queue)  # the scripts are loaded by now, so that one call is one command
        live(queue, Queue.release)
        redis.flushdb()
        yield queue


def claim(queue: Queue) -> Claim:
    return begun(queue, queues=queue_names(["m"]), token="t")


def finish(queue: Queue, claim: Claim) -> object:
    return queue.finish(claim, JobStatus.SUCCEEDED)


def live(queue: Queue, end: Callable[[Queue, Claim], object] = finish) -> None:
    queue.submit({}, model="m")
    got = claim(queue)
    queue.tell([News(got, Progress(stage="denoise"))])
    queue.beat("e", [got])
    end(queue, got)
    queue.reap("e")


def test_lost_reply_to_submit(queue: Queue, wire: LossyWire, redis: Redis) -> None:
    wire.lose_next = True
    job = queue.submit({}, model="m", owner="ann", max_active=1).job
    assert wire.lost == 1
    assert redis.lrange("rq:queue:m.normal", 0, -1) == [job.id.encode()]


def test_lost_reply_to_claim(queue: Queue, wire: LossyWire) -> None:
    first, _ = (queue.submit({}, model="m").job for _ in range(2))
    wire.lose_next = True
    got = claim(queue)
    assert wire.lost == 1
    assert (got.job_id, got.attempt, queue.queues()[0].queued) == (first.id, 1, 1)


def test_lost_reply_to_finish(queue: Queue, wire: LossyWire) -> None:
    queue.submit({}, model="m")
    got = claim(queue)
    wire.lose_next = True
    assert finish(queue, got) == "already"
    assert wire.lost == 1
    assert queue.counters()["finished", "m", "succeeded", ""] == 1


def test_lost_reply_to_release(queue: Queue, wire: LossyWire, redis: Redis) -> None:
    queue.submit({}, model="m")
    got = claim(queue)
    wire.lose_next = True
    assert queue.release(got)
    assert wire.lost == 1
    assert redis.llen("rq:queue:m.normal") == 1
    assert claim(queue).attempt == 1


def test_lost_reply_to_reap(queue: Queue, wire: LossyWire, redis: Redis) -> None:
    queue.submit({}, model="m")
    claim(queue)
    wire.lose_next = True
    queue.reap("e")
    assert wire.lost == 1
    assert redis.llen("rq:queue:m.normal") == 1


def test_lost_reply_to_submit_of_a_batch(queue: Queue, wire: LossyWire, redis: Redis) -> None:
    new = [NewJob(request={}, model="m") for _ in range(3)]
    queue.carry_out(batches.submit(new, Terms()))  # the script is loaded
    redis.flushdb()
    wire.lose_next = True
    terms = Terms(owner="ann", max_active=3)
    submitted = queue.carry_out(batches.submit(new, terms))
    assert wire.lost == 1
    assert not submitted.replayed
    waiting = redis.lrange("rq:queue:m.normal", 0, -1)
    assert waiting == [each.id.encode() for each in submitted.batch.jobs]
