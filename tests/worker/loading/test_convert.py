"""Pickles of weights made safetensors, and pickles of anything else refused."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from darkroom.errors import DarkroomError
from worker.loading.convert import convert


class Bomb:
    """What runs a command where a pickle is read as pickles are."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def run(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker.loading.convert", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_weights_are_those_of_the_pickle(tmp_path: Path) -> None:
    shared = torch.rand(4)
    weights = {"a.weight": torch.rand(2, 3).half().T, "b": shared, "c": shared}
    torch.save({"state_dict": weights, "epoch": 3, "x": None}, tmp_path / "m.ckpt")
    done = run(tmp_path / "m.ckpt")
    assert done.returncode == 0, done.stderr
    made = load_file(tmp_path / "m.safetensors")
    assert made.keys() == weights.keys()
    for name, tensor in weights.items():
        assert made[name].dtype == tensor.dtype
        assert torch.equal(made[name], tensor)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.ckpt", "m.safetensors"]


def test_an_embedding_has_the_name_that_its_safetensors_have(tmp_path: Path) -> None:
    vectors = torch.rand(2, 768)
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "cat"}
    torch.save(content, tmp_path / "cat.pt")
    assert torch.equal(load_file(convert(tmp_path / "cat.pt"))["emb_params"], vectors)


def test_a_pickle_that_needs_code_is_refused_by_name_and_runs_nothing(tmp_path: Path) -> None:
    bomb = Bomb(f"touch {tmp_path / 'bang'}")
    torch.save({"a": torch.rand(2), "b": bomb}, tmp_path / "new.ckpt")
    (tmp_path / "old.bin").write_bytes(pickle.dumps({"b": bomb}, protocol=2))
    done = run(tmp_path / "new.ckpt")
    assert (done.returncode, done.stdout) == (1, "")
    assert "new.ckpt needs code to be read (posix.system), and is refused" in done.stderr
    with pytest.raises(DarkroomError, match=r"old.bin .* is refused; nothing of it was run"):
        convert(tmp_path / "old.bin")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new.ckpt", "old.bin"]


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.ckpt")
    torch.save({"a": torch.rand(2)}, tmp_path / "b.ckpt")
    content = (tmp_path / "b.ckpt").read_bytes()
    (tmp_path / "c.ckpt").write_bytes(content[: len(content) // 2])
    (tmp_path / "d.ckpt").write_bytes(b"<html>")
    (tmp_path / "b.safetensors").touch()
    for name, said in (
        ("a", "holds no weights"),
        ("b", "is there already"),
        ("c", "is damaged"),
        ("d", "a web page"),
        ("e", "is missing"),
    ):
        with pytest.raises(DarkroomError, match=said):
            convert(tmp_path / f"{name}.ckpt")
    assert not list(tmp_path.glob(".*"))


# Some versions of torch say so of each sparse tensor that is read.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (torch.ones(1).expand(10**11), "says that it holds 400,000,000,000 bytes"),
        (torch.eye(3).to_sparse(), "'w' is sparse"),
    ],
)
def test_what_safetensors_cannot_hold_is_told(
    odd: torch.Tensor, words: str, tmp_path: Path
) -> None:
    torch.save({"w": odd}, tmp_path / "a.pt")
    with pytest.raises(DarkroomError, match=words):
        convert(tmp_path / "a.pt")
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]
