"""Joint calls of today's transformers against the same calls one by one, no pipelines.

    python -m benchmarks.joined_calls [--rounds 9] [--threads 1] [--device cpu] [--json]

The networks are tiny, so that a call costs what it costs to launch it: what joining gains at most.
A call is one row with a prompt of a length of its own, as far as the network lets such calls meet.
Beside it, what a mask costs a call that is alone: Qwen-Image with a prompt filled up, against the
same prompt at its own length, for pictures of several sizes. Both sides run in turn in one process;
the ratio of each round is taken, then the median of the rounds: of CPU time on a CPU, of the time
until the device is done elsewhere.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tests import tiny_transformers
from tests.gathering import run_all, values
from tests.tiny_transformers import KINDS, Draw
from worker.gathering import texts
from worker.gathering.gather import Gather

GROUPS = (1, 4, 8)
MET = {"lumina2": (12,), "z-image": (33, 40, 50, 64)}
"""Tokens of prompts that meet; others are of 5 to 12."""
SIDES = (16, 32, 64)
"""Of pictures in tokens: 256, 512 and 1024 pixels."""
TOKENS = 40

Row = dict[str, float | str]


def joined(kind: str, device: torch.device, rounds: int) -> Row:
    """How many times faster calls get through together than one by one, per size of the group."""
    network, gather = tiny_transformers.made(kind, torch.float32).to(device), Gather()
    lengths = MET.get(kind, range(5, 13))
    draws = [Draw(i, 1, lengths[i % len(lengths)], torch.float32) for i in range(max(GROUPS))]
    asked = [_moved(KINDS[kind].arguments(draw), device) for draw in draws]
    plain = network.forward
    gather.wrap(network, "transformer")

    def together(count: int) -> None:
        jobs = {i: lambda each=each: network(**each) for i, each in enumerate(asked[:count])}
        before = gather.forwards
        values(run_all(gather, jobs))
        assert gather.forwards == before + 1

    def one_by_one(count: int) -> None:
        for each in asked[:count]:
            plain(**each)

    row: Row = {"network": kind}
    for count in GROUPS:
        one, other = (lambda n=count, way=way: way(n) for way in (one_by_one, together))
        ratios = _ratios(one, other, device, rounds)
        row[f"{count}"] = statistics.median(ratios)
    return row


def masked(side: int, device: torch.device, rounds: int) -> Row:
    """How many times as long a call takes whose prompt is filled up and masked."""
    torch.manual_seed(7)
    network = tiny_transformers.qwen_image(num_layers=4, num_attention_heads=8).eval().to(device)
    tokens = side * side
    asked = {
        "hidden_states": torch.randn(1, tokens, 16).to(device),
        "timestep": torch.tensor([0.5]).to(device),
        "img_shapes": [[(1, side, side)]],
    }
    text = torch.randn(1, TOKENS, tiny_transformers.TEXT).to(device)
    states, mask = texts.pad(text, None)
    filled = {"encoder_hidden_states": states, "encoder_hidden_states_mask": mask}
    ratios = _ratios(
        lambda: network(**asked, **filled),
        lambda: network(**asked, encoder_hidden_states=text),
        device,
        rounds,
    )
    return {"tokens of the picture": f"{tokens}", "times as long": statistics.median(ratios)}


def _moved(value: Any, device: torch.device) -> Any:
    """A call's arguments, their tensors on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    return [_moved(each, device) for each in value] if isinstance(value, list) else value


def _ratios(
    one: Callable[[], object], other: Callable[[], object], device: torch.device, rounds: int
) -> list[float]:
    one(), other()
    return [_seconds(one, device) / _seconds(other, device) for _ in range(rounds)]


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _show(title: str, rows: Sequence[Row]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(
            *(f"{each:.2f}" if isinstance(each, float) else each for each in row.values())
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    gained = [joined(kind, arguments.device, arguments.rounds) for kind in KINDS]
    paid = [masked(side, arguments.device, arguments.rounds) for side in SIDES]
    if arguments.json:
        print(json.dumps({"joined": gained, "masked": paid}, indent=2))
        return
    _show("calls in a group: times faster than one by one", gained)
    _show("Qwen-Image, a prompt of 40 tokens filled up to 64, masked", paid)


if __name__ == "__main__":
    main()
