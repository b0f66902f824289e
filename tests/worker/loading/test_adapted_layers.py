import numpy as np
import pytest
import torch

from darkroom.lora_keys import read_keys
from tests import lycoris
from worker.loading.adapted_layers import Adapted, Change, adapt, adapted_layers, whole
from worker.loading.layer_names import Layers
from worker.loading.lora_changes import changes

SHAPES = {
    "linear": torch.nn.Linear(8, 4),
    "square": torch.nn.Linear(8, 8, bias=False),
    "conv": torch.nn.Conv2d(8, 4, 3, stride=2, padding=1),
    "pixel": torch.nn.Conv2d(8, 4, 1),
}
CASES = [
    *((kind, name) for kind in lycoris.OF_ALL for name in SHAPES),
    *((kind, "conv") for kind in lycoris.OF_CONVOLUTIONS),
]


def net(name: str) -> torch.nn.Sequential:
    layer = SHAPES[name]
    torch.manual_seed(3)
    made = torch.nn.Sequential()
    made.layer = type(layer)(8, layer.weight.shape[0], **_options(layer)).double()
    return made


def _options(layer: torch.nn.Module) -> dict[str, object]:
    if isinstance(layer, torch.nn.Linear):
        return {"bias": layer.bias is not None}
    return {n: getattr(layer, n) for n in ("kernel_size", "stride", "padding")}


def inputs(name: str) -> torch.Tensor:
    torch.manual_seed(4)
    shape = (2, 8, 6, 6) if "conv" in name or "pixel" in name else (2, 5, 8)
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda it: getattr(it, "__name__", it))
def test_a_changed_layer_is_the_one_with_the_changed_weight(kind: lycoris.Kind, name: str) -> None:
    module = net(name)
    written = kind(module.layer.weight.detach().numpy(), np.random.default_rng(5))
    merged = net(name)
    with torch.no_grad():
        merged.layer.weight.copy_(torch.from_numpy(written.weight))
        bias = torch.zeros(merged.layer.weight.shape[0], dtype=torch.float64) + written.bias
        merged.layer.bias = torch.nn.Parameter(
            bias + (0 if merged.layer.bias is None else merged.layer.bias)
        )
        expected, plain = merged(inputs(name)), module(inputs(name))
        plan = changes(read_keys(written.tensors("layer")), Layers({"unet": module}), {})
        layer = adapt(module.layer)
        layer.add("ink", plan["unet"]["layer"])
        assert torch.equal(module(inputs(name)), plain)
        layer.turn([("ink", 1.0)])
        assert (module(inputs(name)) - expected).abs().max() < 1e-12 * expected.abs().max()
        layer.turn([("ink", 0.25)])
        quarter = plain + 0.25 * (expected - plain)
        assert (module(inputs(name)) - quarter).abs().max() < 1e-12 * expected.abs().max()
        layer.turn([])
        assert torch.equal(module(inputs(name)), plain)


def test_changes_of_several_kinds_add_up() -> None:
    draw = torch.Generator().manual_seed(1)
    layer = adapt(torch.nn.Linear(6, 4).double())
    one = torch.randn(4, 6, generator=draw, dtype=torch.float64)
    other = torch.randn(4, 6, generator=draw, dtype=torch.float64)
    layer.add("one", Change(whole, {"diff": one}))
    layer.add("other", Change(whole, {"diff": other}, 0.5))
    layer.turn([("one", 0.5), ("absent", 9.0), ("other", -1.0)])
    x = torch.randn(3, 6, generator=draw, dtype=torch.float64)
    expected = x @ (layer.weight + 0.5 * one - 0.5 * other).T + layer.bias
    assert torch.allclose(layer(x), expected, atol=1e-14)


def test_a_layer_of_which_a_file_has_some_rows_takes_those() -> None:
    whole_change = torch.arange(24.0).reshape(6, 4)
    change = Change(whole, {"diff": whole_change}, rows=slice(2, 4))
    assert torch.equal(change.delta(torch.zeros(2, 4)), whole_change[2:4])


def test_grouped_convolutions_take_loras_too() -> None:
    conv = torch.nn.Conv2d(4, 6, 3, groups=2, padding=1).double()
    down, up = torch.randn(2, 2, 3, 3).double(), torch.randn(6, 2, 1, 1).double()
    module = torch.nn.Sequential()
    module.conv = conv
    tensors = {"conv.lora_down.weight": down, "conv.lora_up.weight": up}
    plan = changes(read_keys(tensors), Layers({"unet": module}), {})
    x = torch.randn(1, 4, 5, 5).double()
    merged = torch.einsum("or,rihw->oihw", up[..., 0, 0], down)
    expected = torch.nn.functional.conv2d(x, conv.weight + merged, conv.bias, padding=1, groups=2)
    adapt(conv).add("ink", plan["unet"]["conv"])
    conv.turn([("ink", 1.0)])
    assert torch.allclose(conv(x), expected, atol=1e-12)


def test_a_layer_stays_itself_and_counts_its_changes() -> None:
    linear = torch.nn.Linear(3, 2)
    before = linear.weight
    layer = adapt(linear)
    assert layer is linear
    assert adapt(linear) is linear
    assert isinstance(layer, Adapted)
    assert layer.weight is before
    layer.add("ink", Change(whole, {"diff": torch.ones(2, 3)}))
    assert adapted_layers(torch.nn.Sequential(linear)) == [linear]
    assert sum(each.numel() for each in layer.buffers()) == 6
