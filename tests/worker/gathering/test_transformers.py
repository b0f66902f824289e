"""Today's transformers: a call in company is the call alone, whoever the company is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from tests.gathering import difference, flat, run_all, values
from tests.tiny_transformers import KINDS, Draw, ids, made
from worker.gathering.gather import Gather

TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def calls(network: torch.nn.Module, name: str, *draws: Draw) -> dict[int, Callable[[], Any]]:
    """For each draw a job that makes one call of the network."""

    def one(draw: Draw) -> Callable[[], Any]:
        return lambda: network(**KINDS[name].arguments(draw), return_dict=False)[0]

    return {index: one(draw) for index, draw in enumerate(draws)}


def far(one: Any, other: Any) -> float:
    return max(difference(a, b) for a, b in zip(flat(one), flat(other), strict=True))


def equal(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


TOKENS = {"lumina2": (5, 5, 5), "z-image": (33, 40, 64)}
"""Of the prompts of three calls that share a forward; where it is not here, of any length."""


@pytest.mark.parametrize("name", KINDS)
def test_joined_calls_are_those_alone(name: str) -> None:
    network, gather = made(name), Gather()
    tokens = TOKENS.get(name, (5, 2, 8))
    draws = [Draw(1, 1, tokens[0]), Draw(2, 2, tokens[1]), Draw(3, 1, tokens[2])]
    alone = {index: job() for index, job in calls(network, name, *draws).items()}
    gather.wrap(network, "transformer")
    joined = values(run_all(gather, calls(network, name, *draws)))
    assert (gather.forwards, gather.joined_calls, gather.rows) == (1, 1, 4)
    assert max(far(joined[index], alone[index]) for index in alone) <= TOLERANCE
    assert far(alone[0], alone[2]) > 1e-3


@pytest.mark.parametrize("name", [name for name in KINDS if "qwen" not in name])
def test_a_call_without_company_has_the_bits_of_plain_diffusers(name: str) -> None:
    network, gather = made(name, torch.bfloat16), Gather()
    draw = Draw(1, 2, dtype=torch.bfloat16)
    plain = calls(network, name, draw)[0]()
    gather.wrap(network, "transformer")
    (parked,) = values(run_all(gather, calls(network, name, draw))).values()
    assert gather.forwards == 1
    assert equal(parked, plain)


@pytest.mark.parametrize("name", KINDS)
def test_a_row_has_the_same_bits_whoever_the_neighbours_are(name: str) -> None:
    network, gather = made(name, torch.float32), Gather(row_counts=[8])
    gather.wrap(network, "transformer")
    tokens = TOKENS.get(name, (5, 2, 8))
    mine, *others = [
        Draw(seed, rows, tokens[seed % 3], torch.float32) for seed, rows in enumerate((2, 1, 2, 3))
    ]
    companies = [[mine], [mine, *others], [*others, mine], [others[0], mine]]
    bits = [
        values(run_all(gather, calls(network, name, *each)))[each.index(mine)] for each in companies
    ]
    assert gather.forwards == len(companies)
    assert all(equal(each, bits[0]) for each in bits)


def keys(name: str, *arguments: dict[str, Any]) -> tuple[list[Any], list[bool]]:
    """The keys of calls with these arguments, and whether they can be joined; answers them."""
    network, gather = made(name), Gather()
    gather.wrap(network, "transformer")
    for index, each in enumerate(arguments):
        gather.start(index, lambda each=each: network(**each, return_dict=False))
    parked = list(gather.parked.values())
    values(run_all(gather, {}))
    return [call.key for call in parked], [call.joinable for call in parked]


def drawn(name: str, seed: int, **more: Any) -> dict[str, Any]:
    return KINDS[name].arguments(Draw(seed, **more))


@pytest.mark.parametrize("name", ["qwen-image", "z-image", "lumina2"])
def test_texts_that_would_change_the_shapes_within_do_not_share_a_forward(name: str) -> None:
    short, other, long = (*TOKENS.get(name, (5, 2))[:2], 6 if name == "lumina2" else 70)
    found, joinable = keys(name, *(drawn(name, 1, tokens=each) for each in (short, other, long)))
    assert found[0] == found[1] != found[2]
    assert all(joinable)


def captions(*tokens: int) -> dict[str, Any]:
    """What Z-Image is called with, one row for each prompt."""
    rows = [drawn("z-image", index, tokens=each) for index, each in enumerate(tokens)]
    listed = {name: [row[name][0] for row in rows] for name in ("x", "cap_feats")}
    return listed | {"t": torch.cat([row["t"] for row in rows])}


def test_captions_with_shorter_negative_ones_keep_their_proportion() -> None:
    pairs = [captions(40, 40, 5, 9), captions(60, 3), captions(33, 34, 35, 1, 2, 3)]
    found, _ = keys("z-image", *pairs, captions(40, 5, 9), captions(40, 50))
    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 3
    network, gather = made("z-image", torch.float32), Gather(row_counts=[12])
    gather.wrap(network, "transformer")
    for each in pairs:
        each |= {name: [one.float() for one in each[name]] for name in ("x", "cap_feats")}
    jobs = {index: lambda each=each: network(**each)[0] for index, each in enumerate(pairs)}
    joined = values(run_all(gather, jobs))
    assert gather.forwards == 1
    alone = [values(run_all(gather, {index: jobs[index]}))[index] for index in jobs]
    assert all(equal(joined[index], alone[index]) for index in jobs)


def test_pictures_of_other_sizes_do_not_share_a_forward_of_as_many_tokens() -> None:
    wide = {"img_shapes": [[(1, 2, 8), (1, 2, 4)]]}
    one, other = drawn("qwen-edit-2511", 1), drawn("qwen-edit-2511", 2)
    found, _ = keys("qwen-edit-2511", one, other, other | wide)
    assert found[0] == found[1] != found[2]
    wide = {"img_ids": ids(2, 8, 4)[None]}
    one, other = drawn("flux2", 1), drawn("flux2", 2, rows=2)
    found, joinable = keys("flux2", one, other, drawn("flux2", 3) | wide)
    assert found[0] == found[1] != found[2]
    assert all(joinable)


def test_rows_of_unlike_sizes_run_alone() -> None:
    unlike = {"img_shapes": [[(1, 4, 4), (1, 2, 4)], [(1, 4, 4), (1, 4, 2)]]}
    _, joinable = keys("qwen-edit-2511", drawn("qwen-edit-2511", 1, rows=2) | unlike)
    assert joinable == [False]


def test_a_call_that_remembers_its_references_runs_alone() -> None:
    remembering = {"kv_cache_mode": "extract", "num_ref_tokens": 4}
    _, joinable = keys("flux2", drawn("flux2", 1) | remembering)
    assert joinable == [False]


def test_a_tuple_and_a_mapping_come_from_one_forward() -> None:
    network, gather = made("z-image"), Gather()
    gather.wrap(network, "transformer")
    asked = [drawn("z-image", seed) for seed in (1, 2)]
    jobs = {
        "tuple": lambda: network(**asked[0], return_dict=False),
        "mapping": lambda: network(**asked[1]),
    }
    made_together = values(run_all(gather, jobs))
    assert gather.forwards == 1
    (only,) = made_together["tuple"]
    assert far(only, network(**asked[0]).sample) <= TOLERANCE
    assert far(made_together["mapping"].sample, network(**asked[1]).sample) <= TOLERANCE


def test_attention_that_takes_no_mask_gets_none() -> None:
    network, gather = made("qwen-image"), Gather()
    for each in network.transformer_blocks:
        each.attn.processor._attention_backend = AttentionBackendName._NATIVE_FLASH
    draws = [Draw(1, 1, 5), Draw(2, 2, 5), Draw(3, 1, 6)]
    alone = {index: job() for index, job in calls(network, "qwen-image", *draws).items()}
    gather.wrap(network, "transformer")
    joined = values(run_all(gather, calls(network, "qwen-image", *draws)))
    assert (gather.forwards, gather.joined_calls) == (2, 1)
    assert max(far(joined[index], alone[index]) for index in alone) <= TOLERANCE
