from darkroom.job import Progress
from darkroom.queue.queue import Claim
from worker.running import RunningJob


def job() -> RunningJob:
    claim = Claim(
        job_id="job_1",
        token="t",
        request={},
        attempt=1,
        remaining_s=None,
        queued_s=2.0,
        priority="normal",
    )
    return RunningJob(claim, asked=None, inputs={}, deadline=None)


def test_steps_are_told_with_the_time_left():
    one = job()
    one.step(5, 20, None)
    assert (one.progress.stage, one.progress.step, one.progress.ratio) == ("denoise", 5, 0.25)
    assert one.progress.eta_s is not None
    one.step(20, 20, None)
    assert one.progress.ratio == 1.0
    assert one.progress.eta_s == 0


def test_no_time_left_is_told_before_the_first_step():
    one = job()
    one.step(0, 20, None)
    assert one.progress.eta_s is None


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
    one = job()
    one.enter("encode")
    one.spent["encode"] = 5.0
    one.enter("denoise")
    one.enter("encode")
    assert one.timings().encode >= 5.0
    assert one.progress == Progress(stage="encode")
