"""Files that owners keep: each its own, within their room, until they let go or time has passed."""

import pytest
from redis import Redis

from darkroom.errors import FilesFullError, NoSuchFileError
from darkroom.kept_file import AboutFile, KeptFile
from darkroom.queue import files, keeping
from darkroom.queue.lua import Rules
from darkroom.queue.owned_pictures import has_sent
from darkroom.queue.queue import Queue

ROOM = 10 * files.LEAST_COUNTED


def file_id(n: int) -> str:
    return f"file_{n:064x}"


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def put(
    queue: Queue, n: int, owner: str = "ann", size: int = 100, room: int = ROOM
) -> tuple[KeptFile, bool]:
    about = AboutFile(kind="picture", width=8, height=4, bytes=size, warnings=["so"])
    return queue.carry_out(files.put(file_id(n), about, owner=owner, max_bytes=room))


def ids(queue: Queue, owner: str | None, limit: int = 9, cursor: str | None = None) -> list[str]:
    page = queue.carry_out(files.page(limit=limit, cursor=cursor, owner=owner))
    return [file.id for file in page.files]


def test_what_is_kept_is_read_again(queue: Queue) -> None:
    kept, is_new = put(queue, 1)
    assert is_new
    assert (kept.width, kept.height, kept.bytes, kept.warnings) == (8, 4, 100, ["so"])
    assert (kept.expires_at - kept.created_at).days == 30
    assert queue.carry_out(files.get(file_id(1), owner="ann")) == kept
    assert queue.carry_out(files.get(file_id(1))) == kept


def test_the_same_picture_again_is_kept_anew_and_takes_no_more_room(queue: Queue) -> None:
    first, _ = put(queue, 1, room=files.LEAST_COUNTED)
    again, is_new = put(queue, 1, room=files.LEAST_COUNTED)
    assert not is_new
    assert again.created_at == first.created_at
    assert again.expires_at > first.expires_at
    assert ids(queue, "ann") == [file_id(1)]


def test_each_has_their_own(queue: Queue) -> None:
    put(queue, 1, "ann")
    put(queue, 2, "bob")
    put(queue, 1, "bob")
    assert (ids(queue, "ann"), ids(queue, "bob")) == ([file_id(1)], [file_id(1), file_id(2)])
    assert ids(queue, None) == [file_id(1), file_id(2)]
    for ask in (files.get(file_id(2), owner="ann"), files.drop(file_id(2), owner="ann")):
        with pytest.raises(NoSuchFileError, match=file_id(2)):
            queue.carry_out(ask)
    queue.carry_out(files.drop(file_id(1), owner="bob"))
    assert ids(queue, "ann") == [file_id(1)]
    assert queue.carry_out(keeping.loose_inputs()) == set()
    queue.carry_out(files.drop(file_id(1), owner="ann"))
    assert queue.carry_out(keeping.loose_inputs()) == {file_id(1)}
    assert ids(queue, None) == [file_id(2)]


def test_who_sees_all_lets_go_for_all(queue: Queue, redis: Redis) -> None:
    put(queue, 1, "ann")
    put(queue, 1, "bob")
    queue.carry_out(files.drop(file_id(1)))
    assert (ids(queue, "ann"), ids(queue, "bob"), ids(queue, None)) == ([], [], [])
    with pytest.raises(NoSuchFileError):
        queue.carry_out(files.drop(file_id(1)))
    left = {name for name in redis.keys("darkroom:*file*") if name != b"darkroom:loose_inputs"}
    assert left == set()


def test_room_is_for_all_files_of_one_owner_and_comes_back(queue: Queue) -> None:
    for n in range(10):  # however small, each counts as what a disk gives it
        put(queue, n)
    with pytest.raises(FilesFullError, match="delete some first"):
        put(queue, 10)
    put(queue, 10, "bob")
    queue.carry_out(files.drop(file_id(3), owner="ann"))
    with pytest.raises(FilesFullError):
        put(queue, 10, size=files.LEAST_COUNTED + 1)
    put(queue, 10)


def test_pages_lead_from_one_to_the_next(queue: Queue) -> None:
    for n in range(5):
        put(queue, n)
    seen, cursor = [], None
    while True:
        page = queue.carry_out(files.page(limit=2, cursor=cursor, owner="ann"))
        seen.append([file.id for file in page.files])
        put(queue, 9)  # what comes later is on no page after it
        if not (cursor := page.next_cursor):
            break
    expected = [[file_id(4), file_id(3)], [file_id(2), file_id(1)], [file_id(0)]]
    assert seen == expected
    with pytest.raises(ValueError, match="no cursor"):
        queue.carry_out(files.page(limit=2, cursor="x"))


def test_a_file_goes_when_its_time_has_passed(queue: Queue, redis: Redis) -> None:
    brief = Queue(redis, Rules(file_retention_s=0))
    for n in range(3):
        put(brief, n)
    put(queue, 7)
    assert ids(queue, "ann") == [file_id(7)]
    with pytest.raises(NoSuchFileError):
        queue.carry_out(files.get(file_id(0), owner="ann"))
    assert queue.carry_out(files.drop_old()) == 3
    assert redis.zcard("darkroom:all_files") == 1
    assert queue.carry_out(keeping.loose_inputs()) == {file_id(n) for n in range(3)}
    queue.carry_out(keeping.forget_loose({file_id(0), file_id(1), file_id(2)}))
    queue.carry_out(keeping.forget_loose(set()))
    assert queue.carry_out(keeping.loose_inputs()) == set()


def test_a_page_of_what_has_just_passed_is_no_end(queue: Queue, redis: Redis) -> None:
    put(queue, 1)
    brief = Queue(redis, Rules(file_retention_s=0))
    for n in range(2, 6):
        put(brief, n)
    assert ids(queue, "ann", limit=2) == [file_id(1)]


def test_who_keeps_a_file_may_name_it(queue: Queue) -> None:
    put(queue, 1, "ann")
    assert queue.carry_out(has_sent(file_id(1), "ann"))
    assert not queue.carry_out(has_sent(file_id(1), "bob"))
    assert file_id(1) in queue.input_ids()
