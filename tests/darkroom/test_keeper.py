"""What time drives, and what the keeper must leave alone."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from redis import Redis

from darkroom import keeper
from darkroom.command.valkey import RedisServer
from darkroom.errors import ExpiredError
from darkroom.images import ImageStore
from darkroom.job import ImageRecord, JobStatus, new_image_id
from darkroom.keeper import LOOSE_AGE_S, Keeper
from darkroom.kept_file import AboutFile
from darkroom.queue import erasure, files
from darkroom.queue.connection import connect
from darkroom.queue.keeping import loose_inputs
from darkroom.queue.queue import Claim, Queue, queue_names
from darkroom.queue.workers import Workers
from darkroom.settings import Settings
from tests.begun import begun
from tests.darkroom.queue.test_workers import INFO
from tests.stored import file_of
from tests.waiting import until


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def keeping(queue: Queue, store: ImageStore) -> Keeper:
    return Keeper(queue, store, retention_s=7 * 86400)


def test_jobs_for_a_model_that_is_gone_end(
    queue: Queue, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ABANDONED_AFTER_S", 0.0)
    job = queue.submit({}, model="gone").job
    Keeper(queue, store, 9).turn()
    assert queue.fetch(job.id).status is JobStatus.QUEUED
    Keeper(queue, store, 9, lambda: {"pix"}).turn()
    assert queue.fetch(job.id).status is JobStatus.FAILED


def picture(store: ImageStore, age_s: float = 0) -> str:
    image_id = new_image_id()
    store.put(image_id, b"png")
    make_older(file_of(store, image_id), age_s)
    return image_id


def make_older(path: Path, age_s: float) -> None:
    then = time.time() - age_s
    os.utime(path, (then, then))


def claim(queue: Queue) -> Claim:
    return begun(queue, queues=queue_names(["emoji"]), token="t")


def finished(queue: Queue, image_id: str) -> str:
    queue.submit({}, model="emoji")
    got = claim(queue)
    record = ImageRecord(id=image_id, url="/", width=1, height=1, seed=1, bytes=3, sha256="0" * 64)
    queue.finish(got, JobStatus.SUCCEEDED, images=[record])
    return got.job_id


def test_the_keeper_reaps_and_cancels_and_forgets(
    queue: Queue, store: ImageStore, keeping: Keeper, redis: Redis
) -> None:
    old_image = picture(store)
    old = finished(queue, old_image)
    redis.zadd("darkroom:expiries", {old: 1})
    lost = queue.submit({}, model="emoji").job
    claim(queue)
    redis.zadd("darkroom:leases", {lost.id: 1})
    late = queue.submit({}, model="emoji", deadline_s=0).job
    left = queue.submit({}, model="emoji").job
    redis.zadd("darkroom:left", {left.id: 1})
    keeping.reap()
    keeping.turn()
    assert queue.fetch(left.id).status is JobStatus.CANCELED
    assert queue.fetch(lost.id).status is JobStatus.QUEUED
    assert queue.fetch(late.id).error.code == "deadline_exceeded"
    with pytest.raises(ExpiredError):
        queue.fetch(old)
    assert old_image not in store.image_ids()


def test_tidying_deletes_old_orphans_only(queue: Queue, store: ImageStore, keeping: Keeper) -> None:
    kept, young = picture(store, 9999), picture(store)
    finished(queue, kept)
    orphan = picture(store, 9999)
    queue.redis.hset("darkroom:images", orphan, "a job that RQ's tools queued again")
    keeping.tidy()
    keeping.tidy()
    assert set(store.image_ids()) == {kept, young}
    assert orphan not in store.image_ids()
    assert queue.redis.hkeys("darkroom:images") == [kept.encode()]


def test_a_clock_put_forward_makes_no_orphan_of_what_was_just_stored(
    queue: Queue, store: ImageStore, keeping: Keeper
) -> None:
    just_stored = picture(store, 3600)
    keeping.tidy()
    finished(queue, just_stored)
    keeping.tidy()
    assert just_stored in store.image_ids()


def test_tidying_deletes_unfinished_files_and_old_inputs(
    store: ImageStore, keeping: Keeper
) -> None:
    old, young = store.put_input(b"old").id, store.put_input(b"young").id
    make_older(file_of(store, old), 8 * 86400)
    part = file_of(store, young).with_suffix(".png.0123.tmp")
    part.write_bytes(b"half a pict")
    make_older(part, 9999)
    keeping.tidy()
    assert not part.exists()
    assert file_of(store, young).exists()
    assert len(list(Path(str(store)).glob("inputs/*/*"))) == 1


def test_inputs_of_jobs_that_still_wait_are_kept(
    queue: Queue, store: ImageStore, keeping: Keeper
) -> None:
    ids = [store.put_input(data).id for data in (b"image", b"edges", b"of nobody")]
    for input_id in ids:
        make_older(file_of(store, input_id), 8 * 86400)
    queue.submit({"image": ids[0], "controls": [{"image": ids[1]}]}, model="emoji")
    keeping.tidy()
    assert set(store.input_ids(0)) == set(ids[:2])


def test_an_input_that_was_let_go_of_goes_unless_somebody_has_it(
    queue: Queue, store: ImageStore, keeping: Keeper
) -> None:
    ids = [store.put_input(data).id for data in (b"of a job", b"of nobody", b"just read")]
    about = AboutFile(kind="picture", width=1, height=1, bytes=1)
    for each in ids:
        queue.carry_out(files.put(each, about, owner="ann", max_bytes=2**20))
        queue.carry_out(files.drop(each, owner="ann"))
    queue.submit({"image": ids[0]}, model="emoji")
    for each in ids[:2]:
        make_older(file_of(store, each), LOOSE_AGE_S + 1)
    keeping.tidy()
    assert set(store.input_ids(0)) == {ids[0], ids[2]}
    assert queue.carry_out(loose_inputs()) == {ids[2]}
    make_older(file_of(store, ids[2]), LOOSE_AGE_S + 1)
    keeping.tidy()
    assert set(store.input_ids(0)) == {ids[0]}
    assert queue.carry_out(loose_inputs()) == set()


def test_files_are_kept_though_no_job_has_them_until_their_time_has_passed(
    queue: Queue, store: ImageStore, keeping: Keeper, redis: Redis
) -> None:
    kept = store.put_input(b"kept").id
    about = AboutFile(kind="picture", width=1, height=1, bytes=1)
    queue.carry_out(files.put(kept, about, owner="ann", max_bytes=2**20))
    make_older(file_of(store, kept), 8 * 86400)
    keeping.turn()
    assert list(store.input_ids(0)) == [kept]
    redis.zadd("darkroom:file_expiries", {f"{kept}|ann": 1})
    keeping.turn()
    keeping.tidy()
    assert list(store.input_ids(0)) == []


def test_the_keeper_ends_what_was_begun_of_an_erasure(
    queue: Queue, store: ImageStore, keeping: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ERASING_STEPS", 1)
    image = picture(store)
    finished(queue, image)
    for _ in range(100):
        queue.submit({}, model="emoji")
    queue.carry_out(erasure.begin(""))
    keeping.turn()
    assert len(queue.page().jobs) == 1
    assert image in store.image_ids()
    keeping.turn()
    assert queue.page().jobs == []
    assert list(store.image_ids()) == []
    assert queue.carry_out(erasure.noted()) == []


def test_the_inputs_of_a_job_go_with_it_unless_somebody_else_has_them(
    queue: Queue, store: ImageStore, keeping: Keeper
) -> None:
    alone, shared = (store.put_input(data).id for data in (b"alone", b"shared"))
    first = queue.submit({"image": alone, "mask_image": shared}, model="emoji").job
    queue.submit({"image": shared}, model="emoji")
    queue.delete(first.id)
    for each in (alone, shared):
        make_older(file_of(store, each), LOOSE_AGE_S + 1)
    keeping.tidy()
    assert list(store.input_ids(0)) == [shared]


def test_pictures_of_another_redis_are_no_orphans(
    store: ImageStore, keeping: Keeper, redis: Redis
) -> None:
    picture(store)
    keeping.tidy()
    orphan = picture(store, 9999)
    redis.flushall()  # its data is lost, or the address was wrong
    keeping.tidy()
    assert orphan in store.image_ids()
    (Path(str(store)) / "store-id").unlink()
    keeping.tidy()
    keeping.tidy()
    assert orphan not in store.image_ids()


def test_dead_workers_are_forgotten(keeping: Keeper, redis: Redis) -> None:
    Workers(redis).announce(INFO, ttl_s=10)
    redis.delete("rq:worker:w1")
    keeping.turn()
    assert not redis.keys("rq:workers*")


def test_fault_puts_tidying_off(keeping: Keeper, store: ImageStore) -> None:
    orphan = picture(store, 9999)
    keeping.put_off_tidying()
    keeping.turn()
    assert orphan in store.image_ids()


def test_two_keepers_do_not_disturb_each_other(
    queue: Queue, store: ImageStore, redis: Redis
) -> None:
    expected = set()
    for _ in range(60):
        job_id = finished(queue, picture(store))
        redis.zadd("darkroom:expiries", {job_id: 1})
        expected.add(job_id)
    keepers = [Keeper(queue, store, 9) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: one.turn(), keepers))
    assert not list(store.image_ids())
    assert queue.page().jobs == []


def test_keeper_outlives_an_absence_of_redis(state_dir: Path) -> None:
    server = RedisServer(state_dir)
    settings = Settings(state_dir=state_dir, keeper_interval_s=0.02, redis_url=server.start())
    stop = threading.Event()
    with connect(settings.redis_url) as redis:
        queue = Queue(redis)
        thread = threading.Thread(
            target=keeper.run,
            args=(stop,),
            kwargs={"settings": settings, "queue": queue},
            daemon=True,
        )
        thread.start()
        try:
            server.stop()
            server.start()
            late = queue.submit({}, model="emoji", deadline_s=0).job
            until(lambda: queue.fetch(late.id).status is JobStatus.CANCELED)
        finally:
            stop.set()
            thread.join(5)
            server.stop()
        assert not thread.is_alive()


def test_what_nobody_foresaw_does_not_end_the_keeper(
    queue: Queue, redis: Redis, tmp_path: Path
) -> None:
    stop = threading.Event()
    redis.set("darkroom:leases", "of another program")
    settings = Settings(_env_file=None, state_dir=tmp_path, keeper_interval_s=0.01)
    with structlog.testing.capture_logs() as lines:
        keeping = threading.Thread(
            target=keeper.run, args=(stop,), kwargs={"settings": settings, "queue": queue}
        )
        keeping.start()
        while not any(line["event"] == "keeper_failed" for line in lines):
            assert keeping.is_alive()
        redis.delete("darkroom:leases")
        job = queue.submit({}, model="pix", deadline_s=0).job
        while not queue.fetch(job.id).status.terminal:
            assert keeping.is_alive()
        while not any(line["event"] == "keeper_recovered" for line in lines):
            assert keeping.is_alive()
        stop.set()
        keeping.join(60)
