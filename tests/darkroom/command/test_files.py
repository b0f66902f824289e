"""Files on the command line: put, listed, got and removed."""

import json
from pathlib import Path

from PIL import Image

from tests.commands import invoke, lines, opened
from tests.running import RunningUp


def test_files_are_put_listed_got_and_removed(shared_up: RunningUp, tmp_path: Path) -> None:
    at = ("--url", shared_up.url)
    Image.new("RGB", (6, 4), "red").save(tmp_path / "red.webp", lossless=True)
    done = invoke("files", "put", str(tmp_path / "red.webp"), *at)
    file_id, path = lines(done.stdout)[0].split()
    assert path == str(tmp_path / "red.webp")
    done = invoke("files", "ls", *at)
    assert done.exit_code == 0, done.stderr
    listed = lines(done.stdout)
    assert listed[1].split()[:3] == [file_id, "picture", "6x4"]
    assert [f["id"] for f in json.loads(invoke("files", "ls", "--json", *at).stdout)] == [file_id]
    got = invoke("files", "get", file_id, "-o", str(tmp_path / "got.png"), *at)
    assert lines(got.stdout) == [str(tmp_path / "got.png")]
    assert opened(tmp_path / "got.png").getpixel((0, 0)) == (255, 0, 0)
    assert lines(invoke("files", "rm", file_id, *at).stdout) == [f"{file_id} deleted"]
    assert invoke("files", "ls", *at).stderr == "No files.\n"
    for command in (["get", file_id], ["rm", file_id]):
        refused = invoke("files", *command, *at)
        assert (refused.exit_code, "No file has the id" in refused.stderr) == (1, True)


def test_what_is_no_picture_is_said(shared_up: RunningUp, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no picture")
    refused = invoke("files", "put", str(tmp_path / "text"), "--url", shared_up.url)
    assert (refused.exit_code, "Not a complete, undamaged" in refused.stderr) == (1, True)
    missing = invoke("files", "put", str(tmp_path / "none"), "--url", shared_up.url)
    assert (missing.exit_code, str(tmp_path / "none") in missing.stderr) == (2, True)
