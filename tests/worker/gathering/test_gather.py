import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from darkroom.errors import Canceled, DeviceMemoryError
from tests import tiny
from tests.gathering import run_all, tick, values
from worker.gathering.gather import Gather, ModuleState


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return tiny.unet(cross_attention_dim=16).double()


def noise(seed: int, rows: int = 1, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, size, size, generator=generator, dtype=torch.float64)


def text(seed: int, rows: int = 1, tokens: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.randn(rows, tokens, 16, generator=generator, dtype=torch.float64)


def denoising(
    unet: UNet2DConditionModel, seed: int, *, steps: int = 3, rows: int = 1, size: int = 8
) -> Callable[[], torch.Tensor]:
    """A job: a few calls, each of which depends on the one before."""

    def job() -> torch.Tensor:
        latents = noise(seed, rows, size).to(unet.dtype)
        for step in range(steps):
            prompt = text(seed, rows).to(unet.dtype)
            latents = latents - 0.1 * unet(latents, 900 - step, prompt).sample
        return latents

    return job


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-12) -> bool:
    return bool((one - other).abs().max() <= tolerance * other.abs().max())


def test_outside_a_job_a_wrapped_module_runs_as_usual(unet: UNet2DConditionModel) -> None:
    expected = unet(noise(1), 5, text(1)).sample
    Gather().wrap(unet, "unet")
    assert torch.equal(unet(noise(1), 5, text(1)).sample, expected)


def test_jobs_of_different_rows_and_steps_share_forwards(unet: UNet2DConditionModel) -> None:
    jobs = {seed: denoising(unet, seed, steps=2 + seed, rows=1 + seed % 2) for seed in range(4)}
    alone = {seed: job() for seed, job in jobs.items()}
    gather = Gather()
    gather.wrap(unet, "unet")
    gathered = values(run_all(gather, jobs))
    assert all(close(gathered[seed], alone[seed]) for seed in jobs)
    assert (gather.forwards, gather.joined_calls) == (5, 4)
    assert gather.rows == sum((2 + seed) * (1 + seed % 2) for seed in range(4))


def test_a_job_that_comes_later_joins_between_two_steps(unet: UNet2DConditionModel) -> None:
    gather = Gather()
    gather.wrap(unet, "unet")
    gather.start("long", denoising(unet, 1, steps=4))
    tick(gather)
    gather.start("short", denoising(unet, 2, steps=1))
    tick(gather)
    assert [each.owner for each in gather.take_ended()] == ["short"]
    assert gather.joined_calls == 1
    assert list(gather.parked) == ["long"]


def test_other_shapes_do_not_join(unet: UNet2DConditionModel) -> None:
    gather = Gather()
    gather.wrap(unet, "unet")
    gather.start(1, denoising(unet, 1))
    gather.start(2, denoising(unet, 2, size=16))
    gather.start(3, lambda: unet(noise(3), 5, text(3, tokens=9)))
    gather.start(4, lambda: unet(noise(4), 5, text(4), cross_attention_kwargs={"scale": 0.5}))
    gather.start(5, lambda: unet(noise(5), 5, text(5), return_dict=False))
    assert len({call.key for call in gather.parked.values()}) == 5


def test_left_out_and_default_arguments_join(unet: UNet2DConditionModel) -> None:
    gather = Gather()
    gather.wrap(unet, "unet")
    gather.start(1, lambda: unet(noise(1), 5, text(1)))
    gather.start(2, lambda: unet(sample=noise(2), timestep=5, encoder_hidden_states=text(2)))
    gather.start(3, lambda: unet(noise(3), 5, text(3), added_cond_kwargs=None, return_dict=True))
    assert len({call.key for call in gather.parked.values()}) == 1


@pytest.mark.parametrize(
    "timestep",
    [
        7,
        7.25,
        torch.tensor(7),
        torch.tensor([7.25]),
        torch.tensor(7.1, dtype=torch.float64),
        torch.tensor([3, 7]),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_form_of_timestep_gives_the_same_bits_as_alone(
    timestep: Any, dtype: torch.dtype, unet: UNet2DConditionModel
) -> None:
    unet.to(dtype)
    inputs = noise(1, 2).to(dtype), text(1, 2).to(dtype)
    expected = unet(inputs[0], timestep, inputs[1]).sample
    gather = Gather()
    gather.wrap(unet, "unet")
    gather.start(1, lambda: unet(inputs[0], timestep, inputs[1]).sample)
    gather.start(2, lambda: unet(inputs[0], 1, inputs[1]).sample)
    assert len({call.key for call in gather.parked.values()}) == 1
    gather.run([gather.parked[1]])
    assert torch.equal(gather.take_ended()[0].value, expected)


def test_residuals_and_nested_conditions_are_joined_row_by_row() -> None:
    torch.manual_seed(0)
    unet = tiny.unet(
        cross_attention_dim=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    ).double()

    def call(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        residuals = [(16, 8), (16, 8), (16, 4), (32, 4)]
        shapes = [(1, channels, size, size) for channels, size in residuals]
        return unet(
            noise(seed),
            seed,
            text(seed),
            added_cond_kwargs={
                "text_embeds": torch.randn(1, 16, generator=generator, dtype=torch.float64),
                "time_ids": torch.full((1, 6), float(seed), dtype=torch.float64),
            },
            down_block_additional_residuals=tuple(
                torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
            ),
            mid_block_additional_residual=torch.randn(
                1, 32, 4, 4, generator=generator, dtype=torch.float64
            ),
            return_dict=False,
        )[0]

    alone = [call(seed) for seed in range(3)]
    gather = Gather()
    gather.wrap(unet, "unet")
    gathered = values(run_all(gather, {seed: lambda seed=seed: call(seed) for seed in range(3)}))
    assert gather.forwards == 1
    assert all(close(gathered[seed], alone[seed]) for seed in range(3))


def test_padding_gives_the_same_bits_whoever_the_neighbours_are(
    unet: UNet2DConditionModel,
) -> None:
    unet.float()

    def call(seed: int, rows: int = 1) -> torch.Tensor:
        return unet(noise(seed, rows).float(), 5, text(seed, rows).float()).sample

    gather = Gather(row_counts=[8])
    gather.wrap(unet, "unet")
    alone = run_all(gather, {0: lambda: call(0)})
    crowd = {seed: lambda seed=seed: call(seed, 1 + seed) for seed in (2, 1, 0)}
    crowded = run_all(gather, crowd)
    assert torch.equal(alone[0].value, crowded[0].value)
    assert (gather.forwards, gather.rows, gather.padding_rows) == (2, 7, 9)
    assert alone[0].row_counts == crowded[0].row_counts == {8}


@pytest.mark.parametrize("row_counts", [(), (2, 8)])
def test_a_job_that_runs_alone_has_the_same_bits_in_every_company(
    row_counts: tuple[int, ...], unet: UNet2DConditionModel
) -> None:
    unet.float()
    ended = []
    for neighbours in (0, 4):
        gather = Gather(row_counts=row_counts)
        gather.wrap(unet, "unet")
        gather.start("mine", denoising(unet, 1), alone=True)
        for seed in range(neighbours):
            gather.start(seed, denoising(unet, seed))
        ended += [each for each in run_all(gather, {}).values() if each.owner == "mine"]
        assert gather.joined_calls == (3 if neighbours else 0)
        del unet.forward
    assert torch.equal(ended[0].value, ended[1].value)
    assert ended[0].row_counts == ended[1].row_counts == {2 if row_counts else 1}


def test_more_rows_than_the_largest_count_are_not_padded(unet: UNet2DConditionModel) -> None:
    gather = Gather(row_counts=[1, 2])
    gather.wrap(unet, "unet")
    ended = run_all(gather, {seed: denoising(unet, seed, steps=1) for seed in range(3)})
    assert gather.padding_rows == 0
    assert ended[0].row_counts == {3}


def test_parts_are_views_unless_copies_are_asked_for(unet: UNet2DConditionModel) -> None:
    storages = {}
    for clone in (False, True):
        gather = Gather(clone=clone)
        gather.wrap(unet, "unet")
        jobs = {seed: lambda: unet(noise(1), 5, text(1)).sample for seed in range(2)}
        parts = values(run_all(gather, jobs)).values()
        storages[clone] = {part.untyped_storage().data_ptr() for part in parts}
        del unet.forward
    assert (len(storages[False]), len(storages[True])) == (1, 2)


def test_classes_that_are_not_listed_park_and_run_alone() -> None:
    module = torch.nn.Linear(4, 4)
    gather = Gather()
    gather.wrap(module, "text_encoder")
    for owner in range(2):
        gather.start(owner, lambda: module(torch.ones(1, 4)))
    calls = list(gather.parked.values())
    assert [call.module_name for call in calls] == ["text_encoder"] * 2
    assert not calls[0].joinable
    assert calls[0].key != calls[1].key
    gather.run(calls[:1])
    assert list(gather.parked) == [1]
    assert gather.forwards == 0


def test_autoencoders_park_at_encode_and_decode() -> None:
    vae = tiny.sd15().vae
    gather = Gather()
    gather.wrap(vae, "vae")

    def job() -> torch.Size:
        latents = vae.encode(torch.zeros(1, 3, 16, 16)).latent_dist.mean
        return vae.decode(latents, return_dict=False)[0].shape

    gather.start(1, job)
    names = []
    while gather.parked:
        names.append(gather.parked[1].module_name)
        tick(gather)
    assert names == ["vae.encode", "vae.decode"]
    assert gather.take_ended()[0].value == (1, 3, 16, 16)


def test_an_error_in_one_job_reaches_no_other(unet: UNet2DConditionModel) -> None:
    gather = Gather()
    gather.wrap(unet, "unet")

    def failing() -> None:
        unet(noise(9), 5, text(9))
        raise KeyError("mine")

    ended = run_all(gather, {"good": denoising(unet, 1), "bad": failing})
    assert isinstance(ended["bad"].error, KeyError)
    assert "in failing" in ended["bad"].trace
    assert ended["bad"].error.__traceback__ is None
    assert ended["good"].error is None


def test_a_forward_that_fails_jointly_fails_only_the_job_that_fails_alone(
    unet: UNet2DConditionModel,
) -> None:
    forward = unet.forward

    def refusing(sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor) -> Any:
        if sample.isnan().any():
            raise ValueError("a row is not a number")
        return forward(sample, timestep, encoder_hidden_states)

    good = denoising(unet, 1, steps=2)
    expected = good()
    unet.forward = refusing
    gather = Gather()
    gather.wrap(unet, "unet")
    ended = run_all(gather, {"good": good, "bad": lambda: unet(noise(1) * torch.nan, 5, text(1))})
    assert str(ended["bad"].error) == "a row is not a number"
    assert "refusing" in ended["bad"].trace
    assert close(ended["good"].value, expected)


def test_out_of_memory_leaves_the_calls_parked_for_a_smaller_group(
    unet: UNet2DConditionModel,
) -> None:
    forward = unet.forward

    def cramped(sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor) -> Any:
        if sample.shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return forward(sample, timestep, encoder_hidden_states)

    unet.forward = cramped
    gather = Gather()
    gather.wrap(unet, "unet")
    for seed in range(4):
        gather.start(seed, denoising(unet, seed, steps=1))
    calls = list(gather.parked.values())
    with pytest.raises(DeviceMemoryError, match="unet with 4 rows"):
        gather.run(calls)
    assert list(gather.parked) == [0, 1, 2, 3]
    gather.run(calls[:2])
    gather.run(calls[2:])
    assert [each.error for each in gather.take_ended()] == [None] * 4


def test_a_job_that_runs_out_of_memory_by_itself_says_so() -> None:
    def greedy() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    gather = Gather()
    gather.start(1, greedy)
    assert isinstance(gather.take_ended()[0].error, DeviceMemoryError)


def test_a_result_with_other_rows_than_the_call_is_an_error(unet: UNet2DConditionModel) -> None:
    forward = unet.forward

    def first_row(sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor) -> Any:
        return forward(sample, timestep, encoder_hidden_states).sample[:1]

    unet.forward = first_row
    gather = Gather(row_counts=[2])
    gather.wrap(unet, "unet")
    gather.start(1, lambda: unet(noise(1), 5, text(1)))
    tick(gather)
    assert "1 rows from a forward of 2" in str(gather.take_ended()[0].error)


def test_cancel_unwinds_the_job_and_leaves_its_neighbours_alone(
    unet: UNet2DConditionModel,
) -> None:
    unwound = []

    def stubborn() -> None:
        try:
            denoising(unet, 2, steps=50)()
        except Exception:
            unwound.append("swallowed")
        finally:
            unwound.append("finally")

    neighbour = denoising(unet, 1, steps=4)
    expected = neighbour()
    gather = Gather()
    gather.wrap(unet, "unet")
    gather.start("neighbour", neighbour)
    gather.start("canceled", stubborn)
    tick(gather)
    gather.throw("canceled", Canceled("by its client"))
    assert unwound == ["finally"]
    [ended] = gather.take_ended()
    assert (ended.owner, type(ended.error)) == ("canceled", Canceled)
    while gather.parked:
        tick(gather)
    assert close(gather.take_ended()[0].value, expected)
    assert gather.running == 0


def test_two_jobs_of_one_owner_are_refused(unet: UNet2DConditionModel) -> None:
    gather = Gather()
    gather.wrap(unet, "unet")
    gather.start(1, denoising(unet, 1))
    with pytest.raises(ValueError, match="already running"):
        gather.start(1, denoising(unet, 1))


@pytest.mark.parametrize("end", ["finish", "cancel", "fail", "fail in a model call"])
def test_nothing_of_an_ended_job_stays_alive(end: str, unet: UNet2DConditionModel) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    forward = unet.forward

    def recording(sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor) -> Any:
        held.append(weakref.ref(sample))
        if end == "fail in a model call":
            raise ValueError("broken")
        result = forward(sample, timestep, encoder_hidden_states)
        held.append(weakref.ref(result.sample))
        return result

    def job() -> str:
        latents = noise(1)
        held.append(weakref.ref(latents))
        latents = unet(latents, 5, text(1)).sample
        if end == "fail":
            raise ValueError("broken")
        return str(unet(latents, 4, text(1)).sample.shape)

    unet.forward = recording
    gather = Gather()
    gather.wrap(unet, "unet")
    gc.disable()
    try:
        gather.start("mine", job)
        gather.start("other", denoising(unet, 2, steps=1))
        tick(gather)
        if end == "cancel":
            gather.throw("mine", Canceled("now"))
        while gather.parked:
            tick(gather)
        ended = gather.take_ended()
        other = next(each.value for each in ended if each.owner == "other")
        alive = [ref() for ref in held if ref() is not None and ref() is not other]
    finally:
        gc.enable()
    assert len(held) > 1
    assert not alive


def test_jobs_start_in_a_copy_of_the_engine_s_context() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("engine")

    def job() -> str:
        seen = variable.get()
        variable.set("job")
        return seen

    gather = Gather()
    gather.start(1, job)
    assert gather.take_ended()[0].value == "engine"
    assert variable.get() == "engine"


def test_gradients_are_off_in_jobs(unet: UNet2DConditionModel) -> None:
    gather = Gather()
    gather.wrap(unet, "unet")
    with torch.enable_grad():
        ended = run_all(gather, {1: lambda: unet(noise(1), 5, text(1)).sample})
    assert not ended[1].value.requires_grad


def test_state_on_a_module_belongs_to_the_key_and_follows_the_job(
    unet: UNet2DConditionModel,
) -> None:
    current = {"adapter": "none"}
    seen = []
    forward = unet.forward

    def adapted(sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor) -> Any:
        seen.append((current["adapter"], sample.shape[0]))
        return forward(sample, timestep, encoder_hidden_states)

    unet.forward = adapted
    gather = Gather()
    gather.wrap(
        unet,
        "unet",
        state=ModuleState(lambda: current["adapter"], lambda name: current.update(adapter=name)),
    )

    def job(adapter: str) -> str:
        current["adapter"] = adapter
        unet(noise(1), 5, text(1))
        after = current["adapter"]
        current["adapter"] = "none"
        return after

    names = {1: "ink", 2: "oil", 3: "ink"}
    jobs = {owner: lambda name=name: job(name) for owner, name in names.items()}
    assert values(run_all(gather, jobs)) == names
    assert seen == [("ink", 2), ("oil", 1)]


def test_a_job_begins_with_the_state_that_the_module_came_with(
    unet: UNet2DConditionModel,
) -> None:
    current = {"switch": "off"}
    gather = Gather()
    gather.wrap(
        unet,
        "unet",
        state=ModuleState(lambda: current["switch"], lambda switch: current.update(switch=switch)),
    )

    def switching() -> None:
        current["switch"] = "on"
        unet(noise(1), 5, text(1))

    gather.start("switching", switching)
    gather.start("plain", lambda: unet(noise(2), 5, text(2)) and current["switch"])
    gather.run([gather.parked["switching"]])
    gather.start("late", lambda: unet(noise(3), 5, text(3)) and current["switch"])
    plain, late = gather.parked["plain"], gather.parked["late"]
    assert plain.key == late.key
    gather.run([plain, late])
    assert values({each.owner: each for each in gather.take_ended()}) == {
        "switching": None,
        "plain": "off",
        "late": "off",
    }
