"""The order of what stands around a module's methods; what each layer does: its own tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from tests import tiny
from tests import tiny_adapters as shelf
from worker.gathering.gather import Gather
from worker.loading.adapted_layers import adapted_layers
from worker.loading.adapters import Adapters, Setting
from worker.loading.offload import Offload
from worker.loading.stack import build, replace_step

CPU = torch.device("cpu")


def layers_of(method: Callable[..., Any]) -> Iterator[str]:
    """The names of the functions that wrap a method, outermost first."""
    while hasattr(method, "__wrapped__"):
        yield method.__code__.co_qualname.partition(".<locals>")[0]
        method = method.__wrapped__


def test_a_network_s_layers_are_in_order() -> None:
    network = torch.nn.Linear(2, 2)
    adapters = Adapters(adapted={"unet": network})
    build(network, "unet", Gather(), adapters=adapters, is_compiled=True, offload=Offload(CPU))
    assert list(layers_of(network.forward)) == [
        "Gather._parking_method",
        "Offload._wrap",
        "follow",
        "_compile_forward",
    ]


def test_a_vae_is_cast_where_it_works() -> None:
    vae, seen = tiny.sd15().vae, []
    offload = Offload(CPU)
    build(vae, "vae", Gather(), cast=torch.float16, offload=offload)
    vae.decoder.register_forward_pre_hook(
        lambda _, given: seen.append((given[0].dtype, offload.resident))
    )
    with torch.no_grad():
        made = vae.decode(torch.zeros(1, 4, 8, 8, dtype=torch.float16)).sample
    assert seen == [(torch.float32, ("vae",))]
    assert made.dtype == torch.float16


def test_a_parked_call_waits_outside_of_everything(tmp_path: Path) -> None:
    source = shelf.write_lora("sd15", tmp_path / "ink", 0)
    card = {"loras": [{"name": "ink", "source": str(source)}]}
    loaded = tiny.load("sd15", tmp_path / "model", Gather(), **card).adapters
    adapted = loaded.adapted["unet"]
    vars(adapted).pop("forward")
    adapters, gather, offload = Adapters(adapted={"unet": adapted}), Gather(), Offload(CPU)
    build(adapted, "unet", gather, adapters=adapters, offload=offload)
    layer = adapted_layers(adapted)[0]

    def stands() -> tuple[list[float], tuple[str, ...]]:
        return [scale for _, scale in layer.at_work], offload.resident

    seen, inputs = [], (torch.zeros(1, 4, 8, 8), 5, torch.zeros(1, 7, 16))
    layer.register_forward_pre_hook(lambda *_: seen.append(stands()))

    def job() -> None:
        adapters.current.setting = Setting(((loaded.loras["ink"], 0.5),))
        adapted(*inputs)

    adapters.current.setting = Setting()
    adapted(*inputs)
    offload.rest()
    gather.start("job", job)
    adapters.current.setting = Setting()
    assert stands() == ([], ())
    gather.run(list(gather.parked.values()))
    assert seen == [([], ("unet",)), ([0.5], ("unet",))]


def test_copies_for_adapters_are_made_before_anything_is_wrapped(tmp_path: Path) -> None:
    source = shelf.write_lora("sd15", tmp_path / "ink", 0)
    card = {"loras": [{"name": "ink", "source": str(source)}], "compile": True}
    model = tiny.load("sd15", tmp_path / "model", Gather(), **card)
    plain, adapted = model.components["unet"], model.adapters.adapted["unet"]
    wrapped = {type(each).__name__ for each in plain.modules() if "forward" in vars(each)}
    assert wrapped == {"UNet2DConditionModel", "BasicTransformerBlock"}
    assert [each for each in adapted.modules() if "forward" in vars(each)] == [adapted]
    assert "_compile_forward" not in layers_of(adapted.forward)


def test_a_scheduler_is_as_it_was_when_its_layers_are_gone() -> None:
    class Scheduler(SimpleNamespace):
        def step(self) -> list[str]:
            return ["step"]

    def layer(name: str) -> Callable[[Callable[[], list[str]]], Callable[[], list[str]]]:
        return lambda inner: lambda: [name, *inner()]

    scheduler = Scheduler()
    with replace_step(scheduler, layer("seeded"), layer("counted")):
        assert scheduler.step() == ["counted", "seeded", "step"]
    assert vars(scheduler) == {}
    assert scheduler.step() == ["step"]
