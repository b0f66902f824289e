"""Which jobs a list finds by their stars and their prompts; test_queue.py has the rest."""

import zlib

import pytest
from redis import Redis

from darkroom.job_options import JobMarks
from darkroom.queue.queue import Queue


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def asked(queue: Queue, prompt: str, **more: object) -> str:
    request = {"prompt": prompt, "negative_prompt": "a dragon"} | more
    return queue.submit(request, model="pix", owner="ann").job.id


def found(queue: Queue, **filters: object) -> list[str]:
    return [job.id for job in queue.page(**filters).jobs]


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("RED apple", "a Red APPLE on a plate"),
        ("äöü Éa", "ÄÖÜ éa"),
        ("ЯБЛОКО", "красное Яблоко"),
        ("苹果", "红苹果"),
        ("(a:1.2) 100% [b] ^$ .*", "x (A:1.2) 100% [B] ^$ .* y"),
        ('say "hi" \\o/', 'Say "HI" \\o/ now'),
        ("one\ntwo", "One\nTwo"),
    ],
)
def test_text_of_a_prompt_is_found_in_large_and_small_letters(queue, text, prompt):
    asked(queue, "something else", scheduler=text)
    wanted = asked(queue, prompt)
    assert found(queue, text=text) == [wanted]
    assert found(queue, text=text.upper()) == [wanted]
    assert found(queue, text=text + "!") == []


@pytest.mark.parametrize("text", ["İstanbul", "Σας", "ΣΑς", "ẞ ß ſ", "5 µm", "ŉ ǆ ﬁ"])
def test_each_text_is_found_as_it_is_written(queue, text):
    asked(queue, "something else")
    wanted = asked(queue, f"so {text} then")
    assert found(queue, text=text) == [wanted]


def test_nothing_but_prompts_is_searched(queue, redis):
    job = asked(queue, "a cat")
    assert found(queue, text="dragon") == found(queue, text="prompt") == []
    assert found(queue, text="cat", owner="bob") == []
    assert found(queue, text="cat", owner="ann", status=None, starred=False) == [job]
    key = f"rq:job:{job}"
    broken = (b'["a cat", null, [3], {}]', b'[1, 2, "a cat"]', b"a cat", zlib.compress(b"a cat"))
    for data in broken:
        redis.hset(key, "data", data)
        assert found(queue, text="a cat") == []


def test_a_page_of_found_ones_goes_on_behind_it(queue):
    jobs = [asked(queue, f"{'cat' if n % 2 else 'dog'} {n}") for n in range(8)][::-1]
    first = queue.page(text="CAT", limit=3)
    rest = queue.page(text="CAT", limit=3, cursor=first.next_cursor)
    assert [job.id for job in [*first.jobs, *rest.jobs]] == jobs[::2]
    assert rest.next_cursor is None


def test_starred_jobs_are_found_and_kept_no_longer(queue):
    starred, plain = asked(queue, "a cat"), asked(queue, "a cat")
    assert queue.mark(starred, JobMarks(starred=True)).starred
    assert (found(queue, starred=True), found(queue, starred=False)) == ([starred], [plain])
    ended = [queue.cancel(each).expires_at for each in (starred, plain)]
    assert abs((ended[0] - ended[1]).total_seconds()) < 10
    assert not queue.mark(starred, JobMarks(starred=False)).starred
    assert found(queue, starred=True) == []


def test_what_an_ended_job_takes_is_weighed_again(queue, redis):
    job = asked(queue, "a cat")
    queue.cancel(job)
    before = int(redis.get("darkroom:kept_bytes"))
    queue.mark(job, JobMarks(tags=["x" * 64] * 16))
    assert int(redis.get("darkroom:kept_bytes")) > before + 1000
    assert int(redis.get("darkroom:kept_bytes")) == int(redis.hget("darkroom:sizes", job))
