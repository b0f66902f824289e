"""Modes of what is made, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.images import ImageStore
from darkroom.job import new_image_id
from darkroom.private import make_folder, make_state_dir, open_file


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> set[str]:
    """Of the folder and all that is in it."""
    return {oct(stat.S_IMODE(path.lstat().st_mode)) for path in (folder, *folder.rglob("*"))}


def test_the_store_is_its_owners_alone(tmp_path: Path, umask: int) -> None:  # noqa: ARG001
    store = ImageStore(tmp_path / "state" / "images")
    store.put(new_image_id(), b"a picture")
    store.put_input(b"another")
    store.set_mark("mine")
    assert modes(tmp_path / "state") == {"0o700", "0o600"}


def test_a_shared_store_is_its_groups(tmp_path: Path, umask: int) -> None:  # noqa: ARG001
    store = ImageStore(tmp_path / "images", shared=True)
    store.put(new_image_id(), b"a picture")
    store.put_input(b"another")
    assert modes(tmp_path / "images") == {"0o2770", "0o660"}


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(0o755)
    make_folder(tmp_path / "there" / "new")
    assert modes(tmp_path / "there") == {"0o755", "0o700"}
    open_file(tmp_path / "file", "ab").close()
    (tmp_path / "file").chmod(0o640)
    with open_file(tmp_path / "file", "ab") as file:
        file.write(b"more")
    assert (tmp_path / "file").read_bytes() == b"more"
    assert modes(tmp_path / "file") == {"0o640"}


def test_a_state_directory_of_an_earlier_version_is_closed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for folder in (state, state / "logs", state / "images"):
        folder.mkdir()
        folder.chmod(0o755)
    make_state_dir(state)
    assert modes(state) == {"0o700", "0o755"}
    assert oct(state.stat().st_mode)[-3:] == "700"


def test_a_folder_for_other_things_too_is_left_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "papers").mkdir(0o755)
    make_state_dir(tmp_path)
    assert oct(tmp_path.stat().st_mode)[-3:] == "755"
    assert modes(tmp_path / "logs") == {"0o700"}
