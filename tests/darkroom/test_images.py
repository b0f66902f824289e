import os
import time
from pathlib import Path

import pytest

from darkroom.errors import ImageNotFoundError, InvalidImageError, StoreUnavailableError
from darkroom.images import ImageStore
from darkroom.job import new_image_id
from tests.stored import file_of


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "store")


def files(store: ImageStore) -> list[str]:
    return sorted(p.name for p in Path(str(store)).rglob("*") if p.is_file())


def test_a_picture_comes_back_as_stored(store):
    image_id = new_image_id()
    store.put(image_id, b"bytes")
    assert file_of(store, image_id).read_bytes() == b"bytes"
    assert files(store) == [f"{image_id}.png"]
    assert list(store.image_ids()) == [image_id]


@pytest.mark.parametrize(
    ("image_format", "suffix"), [("png", ".png"), ("jpeg", ".jpg"), ("webp", ".webp")]
)
def test_a_picture_is_found_and_deleted_by_its_id_whatever_its_format(store, image_format, suffix):
    image_id = new_image_id()
    store.put(image_id, b"bytes", image_format)
    assert file_of(store, image_id).suffix == suffix
    assert file_of(store, image_id).read_bytes() == b"bytes"
    unfinished = file_of(store, image_id).with_suffix(f"{suffix}.0.tmp")
    unfinished.write_bytes(b"")
    assert list(store.image_ids()) == [image_id]
    assert store.delete([image_id]) == 1
    assert files(store) == [unfinished.name]


def test_inputs_are_kept_once_under_their_hash(store):
    first, second = store.put_input(b"x").id, store.put_input(b"x").id
    assert first == second
    assert first.startswith("file_2d711642")
    assert file_of(store, first).read_bytes() == b"x"


def test_an_input_is_told_new_or_not_and_deleted_while_nobody_else_needs_it(store):
    first, second = store.put_input(b"x"), store.put_input(b"x")
    assert first.written_ns is not None
    assert second.written_ns is None
    assert store.delete_unused([first]) == 0
    alone = store.put_input(b"y")
    assert store.delete_unused([second, alone, alone]) == 1
    assert files(store) == [f"{first.id}.png"]


@pytest.mark.parametrize(
    "image_id", ["", "img_", "../../etc/passwd", "img_" + "0" * 31 + "/", "img_" + "٠" * 32, "a\0b"]
)
def test_a5_an_id_that_we_did_not_make_is_not_found(store, image_id):
    with pytest.raises(ImageNotFoundError):
        store.find(image_id)
    with pytest.raises(InvalidImageError):
        store.open_input(image_id)


def test_a5_an_id_leads_to_no_file_that_lies_elsewhere(store, tmp_path):
    for kind in ("images", "inputs"):
        (tmp_path / "store" / kind / "de").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(b"x")
    strange = "../../../outside"  # `de` is the folder that its end names
    with pytest.raises(ImageNotFoundError):
        store.find(strange)
    with pytest.raises(InvalidImageError):
        store.open_input(strange)


def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    store.put(new_image_id(), b"a")
    before = files(store)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        store.put(new_image_id(), b"b")
    assert files(store) == before


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError):
        ImageStore(tmp_path / "file").check()


def test_deleting_counts_what_was_there(store):
    image_id = new_image_id()
    store.put(image_id, b"a")
    assert store.delete([image_id, new_image_id()]) == 1
    with pytest.raises(ImageNotFoundError):
        store.find(image_id)


def test_only_old_leftovers_are_swept(store):
    kept, old = new_image_id(), store.put_input(b"old").id
    store.put(kept, b"a")
    for path in (file_of(store, old), file_of(store, kept).with_suffix(".png.0.tmp")):
        path.write_bytes(b"")
        os.utime(path, (time.time() - 100, time.time() - 100))
    assert store.delete_unfinished(older_than_s=200) == 0
    assert (store.delete_unfinished(50), store.delete_inputs(50)) == (1, 1)
    assert files(store) == [f"{kept}.png"]


def test_a_known_input_that_cannot_be_touched_is_a_fault_of_the_store(store):
    path = file_of(store, store.put_input(b"x").id)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(StoreUnavailableError) as caught:
        store.put_input(b"x")
    assert str(store) not in str(caught.value)


def test_a_check_writes_as_much_as_asked_and_leaves_nothing(store):
    store.check(100_000)
    assert files(store) == []


def test_a_store_is_marked_once_there_is_something_in_it(store):
    assert store.mark() is None
    assert not store.set_mark("one")
    store.put(new_image_id(), b"a")
    assert store.set_mark("one")
    assert store.mark() == "one"
    assert list(store.image_ids()) != []


def test_room_is_known_before_the_folder_is_there(store):
    assert store.free_bytes() > 0
    assert not Path(str(store)).exists()


def test_a_picture_is_read_from_any_position(store):
    image_id = new_image_id()
    store.put(image_id, b"0123456789", "webp")
    image = store.find(image_id)
    assert (image.id, image.format, image.size) == (image_id, "webp", 10)
    assert image.file_name == f"{image_id}.webp"
    assert abs(image.modified - time.time()) < 60
    with store.open(image) as file:
        file.seek(4)
        assert file.read(3) == b"456"
    store.delete([image_id])
    with pytest.raises(ImageNotFoundError):
        store.open(image)


def test_an_input_that_is_read_is_needed_still(store):
    input_id = store.put_input(b"x").id
    os.utime(file_of(store, input_id), (1, 1))
    assert store.read_input(input_id) == b"x"
    assert store.delete_inputs(older_than_s=60) == 0
