import gc
import weakref

from tests import tiny
from worker.gathering.grounding import switch_of


def test_a_network_without_such_layers_has_no_switch() -> None:
    assert switch_of(tiny.unet(cross_attention_dim=16)) is None


def test_the_switch_is_told_and_put_back() -> None:
    pipeline = tiny.gligen()
    switch = switch_of(pipeline.unet)
    assert switch is not None
    assert switch.capture() is True
    pipeline.enable_fuser(False)
    assert switch.capture() is False
    switch.restore(True)
    assert all(each.enabled for each in pipeline.unet.modules() if hasattr(each, "enabled"))


def test_a_switch_that_is_kept_keeps_no_network() -> None:
    network = tiny.unet(cross_attention_dim=16, attention_type="gated")
    switch = switch_of(network)
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None
    assert switch is not None
    switch.restore(switch.capture())
