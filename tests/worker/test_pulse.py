from contextlib import suppress

from worker.pulse import Pulse


def aged(pulse: Pulse, seconds: float) -> Pulse:
    """As if its last tick were so much longer ago."""
    pulse._ticked_at -= seconds
    return pulse


def test_one_model_call_may_take_less_long_than_loading() -> None:
    pulse = Pulse(step_timeout_s=100, load_timeout_s=1000)
    assert pulse.state == "starting"
    assert not aged(pulse, 500).is_stuck
    pulse.enter("busy")
    assert pulse.is_stuck
    pulse.come_round("busy")
    assert not pulse.is_stuck
    assert pulse.ticks == 1


def test_a_load_has_its_time_from_its_beginning_and_the_loop_from_its_end() -> None:
    pulse = aged(Pulse(step_timeout_s=100, load_timeout_s=1000), 5000)
    with suppress(OSError), pulse.loading("emoji"):
        assert (pulse.state, pulse.loads) == ("loading", "emoji")
        assert not aged(pulse, 900).is_stuck
        assert aged(pulse, 200).is_stuck
        raise OSError("gone")
    assert pulse.loads is None
    pulse.enter("busy")
    assert not pulse.is_stuck


def test_a_call_that_compiles_has_the_time_of_a_load_and_the_next_one_its_own() -> None:
    pulse = aged(Pulse(step_timeout_s=100, load_timeout_s=1000), 5000)
    pulse.enter("busy")
    with pulse.loading("emoji"):
        assert not aged(pulse, 900).is_stuck
    assert (pulse.state, pulse.loads, pulse.is_stuck) == ("busy", None, False)
    assert aged(pulse, 200).is_stuck
