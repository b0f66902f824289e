import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType, SimpleNamespace

import pytest

from darkroom.costs import Work
from darkroom.draft import Draft
from darkroom.job import Progress
from darkroom.queue.queue import Claim
from worker import running
from worker.running import RunningJob


def job(**known) -> RunningJob:
    claim = Claim(
        job_id="job_1",
        token="t",
        request={},
        attempt=1,
        remaining_s=None,
        queued_s=2.0,
        priority="normal",
        **known,
    )
    return RunningJob(claim, asked=None, deadline=None)


def test_steps_are_told_with_the_time_left():
    one = job()
    one.step(5, 20, None)
    assert (one.progress.stage, one.progress.step, one.progress.steps) == ("denoise", 5, 20)
    assert one.progress.eta_s is not None
    one.step(20, 20, None)
    assert one.progress.eta_s == 0


def test_the_time_left_counts_that_steps_of_a_larger_part_are_slower():
    one = job(spent={"denoise": 0.0})
    small, large = (
        Work(size=size, images=1, rounds=2, rows=2, steps=steps)
        for size, steps in (((64, 32), 6), ((128, 64), 4))
    )
    one.parts, one.step_s = (small, large), (1.0, 5.0)
    one.begins(1)
    assert one.work is large
    one.begins(0)
    assert one.work is small
    left = [one._time_left(i, 20) for i in (1, 6, 7, 10, 16, 20)]
    assert left == pytest.approx([51 / 1, 46 / 6, 41 / 11, 26 / 26, 20 / 32, 0])


def test_no_time_left_is_told_before_the_first_step():
    one = job()
    one.step(0, 20, None)
    assert one.progress.eta_s is None


def test_the_ratio_rises_through_all_stages_to_one():
    one = job()
    told = [one.progress]
    for act in (
        lambda: one.enter("encode"),
        *(lambda i=i: one.step(i, 4, None) for i in range(1, 5)),
        lambda: one.enter("decode"),
        lambda: one.enter("save"),
    ):
        act()
        told.append(one.progress)
    told.append(one.done)
    ratios = [each.ratio for each in told]
    assert ratios == pytest.approx([0, 0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 4 / 6, 5 / 6, 1], abs=1e-4)
    assert [each.stage for each in told][-3:] == ["decode", "save", "save"]
    assert (one.done.step, one.done.steps, one.done.eta_s) == (4, 4, 0)


def test_the_ratio_never_falls_where_pictures_are_made_one_after_the_other():
    one, ratios = job(), []
    for picture in range(3):
        for step in range(1, 3):
            one.step(picture * 2 + step, 6, None)
            ratios.append(one.progress.ratio)
        one.enter("decode")
        ratios.append(one.progress.ratio)
    assert ratios == sorted(ratios)
    assert max(ratios) == pytest.approx(6 / 8)


def test_a_picture_that_is_kept_as_it_is_makes_no_step_and_ends_all_the_same():
    one = job()
    one.enter("encode")
    one.enter("save")
    assert (one.progress.ratio, one.done.ratio) == (0.5, 1.0)


def test_each_stage_is_told_once_however_rarely_somebody_asks():
    one, told = job(), []

    def tell():
        for event in one.news:
            told.append((event.stage, event.step))
            one.told(event)

    tell()
    one.enter("encode")
    tell()
    one.step(1, 3, None)
    tell()
    one.step(2, 3, None)
    one.step(3, 3, None)
    one.enter("decode")
    one.enter("save")
    tell()
    tell()
    assert told == [
        *[("load", 0), ("encode", 0), ("denoise", 1), ("denoise", 3), ("decode", 3), ("save", 3)]
    ]


def test_what_turns_out_is_told_once_and_in_order():
    one = job()
    one.warn(["The prompt was cut.", "The prompt was cut."])
    one.enter("encode")
    one.needed("vae_slicing")
    one.needed("vae_slicing")
    one.warn(["The prompt was cut.", "It is dark."])
    news = one.news
    assert [getattr(each, "message", None) or each.stage for each in news] == [
        "The prompt was cut.",
        "load",
        "Memory was short: vae_slicing.",
        "It is dark.",
        "encode",
    ]
    assert one.warnings == ["The prompt was cut.", "It is dark."]
    for each in news:
        one.told(each)
    assert one.news == ()


def test_what_its_client_was_told_before_is_no_news():
    one = job(warnings=("The seed is odd.",))
    one.warn(["The seed is odd."])
    assert (one.warnings, len(one.news)) == ([], 1)


def test_what_is_loaded_is_told():
    one = job()
    one.asked = Draft("text-to-image", {"model": "sdxl"})
    one.told(one.news[0])
    one.tell_of_load("another", 0.5)
    assert one.news == ()
    for share in (0.0, 0.75):
        one.tell_of_load("sdxl", share)
        (told,) = one.news
        assert (told.stage, told.detail, told.loaded) == ("load", "the model sdxl", share)
    one.tell_of_load("sdxl", 0.75)
    assert one.news == (told,)
    assert told.doing == "load the model sdxl, 75%"
    one.enter("encode")
    assert (one.progress.detail, one.progress.loaded) == (None, None)


def test_a_pass_that_compiles_is_told_as_loading_and_counts_as_such():
    one = job()
    one.asked = Draft("text-to-image", {"model": "sdxl"})
    one.work = Work(size=(64, 32), images=1, rounds=1, rows=2, steps=20)
    one.step(2, 20, None)
    with one.compiling():
        progress = one.progress
        assert (progress.stage, progress.step, progress.eta_s) == ("load", 2, None)
        assert progress.detail == progress.doing == "compiling the model sdxl for 64 x 32"
        before = one.spent_so_far()
    assert (one.progress.stage, one.progress.step, one.progress.detail) == ("denoise", 2, None)
    assert one.spent_so_far()["load"] >= before["load"]
    assert one.spent_so_far()["denoise"] >= before["denoise"]
    with one.compiling():
        one.enter("decode")
    assert one.progress.stage == "decode", "it has gone on by itself"


def test_times_of_earlier_attempts_are_added_and_the_sum_is_the_total():
    one = job(spent={"load": 3.0, "denoise": 4.0})
    one.step(1, 2, None)
    assert one.progress.eta_s < 1
    told = one.spent_so_far()
    assert (told["load"], told["denoise"]) >= (3.0, 4.0)
    timings = one.timings()
    assert timings.total == pytest.approx(timings.queued + sum(told.values()), abs=0.1)
    assert timings.total >= 9.0


def test_seconds_of_devices_are_those_of_all_attempts_and_no_part_of_the_total():
    one = job(spent={"denoise": 4.0}, device_s=1.5)
    one.device_s += 0.25
    assert (one.spent_so_far()["device"], one.timings().device) == (1.75, 1.75)
    assert one.timings().total == pytest.approx(6.0, abs=0.1)
    assert job().timings().device is None, "nobody has measured any"


def test_each_stage_gets_its_own_time_and_the_total_counts_from_submission():
    one = job()
    for stage in ("encode", "denoise", "decode", "save"):
        one.enter(stage)
    timings = one.timings()
    spent = [timings.load, timings.encode, timings.denoise, timings.decode, timings.save]
    assert all(seconds is not None for seconds in spent)
    assert timings.queued == 2.0
    assert timings.total >= 2.0 + sum(spent) - 0.001


def test_coming_back_to_a_stage_adds_to_it():
    one = job(spent={"encode": 5.0})
    one.enter("encode")
    before = one.timings().encode
    one.enter("denoise")
    one.enter("encode")
    assert one.timings().encode >= before >= 5.0
    assert one.progress == Progress(stage="encode")


def test_no_time_counts_twice_for_who_reads_while_the_stage_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Leases are told of from a thread of their own, which may read between any two steps."""
    # Its own clock alone: with that of the process servers in other threads sleep for hours.
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: 100.0))
    one, most = job(), 0.0

    def read_on(frame: FrameType, *_: object) -> Callable[..., object] | None:
        nonlocal most
        if frame.f_code is RunningJob.enter.__code__:
            most = max(most, sum(one.spent_so_far().values()))
            return read_on
        return None

    one.claimed_at, one._clock = 0.0, replace(one._clock, since=0.0)
    before = sys.gettrace()
    sys.settrace(read_on)
    try:
        one.enter("encode")
    finally:
        sys.settrace(before)
    assert most == 100.0


def test_a_place_is_about_to_be_free_in_the_last_steps_and_after_them() -> None:
    one = job()
    assert not one.is_leaving
    for step, leaves in ((1, False), (7, False), (8, True), (10, True)):
        one.step(step, 10, None)
        assert one.is_leaving is leaves
    other = job()
    other.enter("decode")
    assert other.is_leaving
