from pathlib import Path

import pytest
import torch

from darkroom.model_card import ModelCard
from tests import tiny
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.offload import Offload
from worker.loading.pipelines import LoadedModel
from worker.loading.weights import is_offloaded, modules_of

CPU = torch.device("cpu")


@pytest.fixture
def offloaded(tmp_path: Path) -> tuple[LoadedModel, Offload]:
    """Offload to the host itself: what is moved is a copy, as it is on a device."""
    model = tiny.load("sd15", tmp_path, Gather())
    offload = Offload(CPU)
    for name, module in modules_of(model.components):
        offload.wrap(module, name)
    return model, offload


def picture(model: LoadedModel) -> torch.Tensor:
    view = model.view("text-to-image", model.schedulers.own)
    with torch.no_grad():
        return view(
            "a cat",
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(1),
            output_type="pt",
        ).images


def weights(module: torch.nn.Module) -> list[int]:
    return [each.data_ptr() for each in module.parameters()]


def test_a_part_is_on_the_device_while_it_works_and_only_then(offloaded) -> None:
    model, offload = offloaded
    parts = dict(modules_of(model.components))
    resting = {name: weights(part) for name, part in parts.items()}
    seen: dict[str, tuple[str, ...]] = {}

    def look(name: str):
        def hook(*_: object) -> None:
            seen[name] = offload.resident
            for other, part in parts.items():
                moved = weights(part) != resting[other]
                assert moved == (other in offload.resident)

        return hook

    next(parts["text_encoder"].children()).register_forward_pre_hook(look("text_encoder"))
    parts["unet"].conv_in.register_forward_pre_hook(look("unet"))
    parts["vae"].decoder.register_forward_pre_hook(look("vae"))
    picture(model)
    assert seen == {name: (name,) for name in ("text_encoder", "unet", "vae")}
    offload.rest()
    assert offload.resident == ()
    assert {name: weights(part) for name, part in parts.items()} == resting


def test_the_picture_is_the_same(tmp_path: Path) -> None:
    plain = picture(tiny.load("sd15", tmp_path, Gather()))
    model = tiny.load("sd15", tmp_path, Gather())
    offload = Offload(CPU)
    for name, module in modules_of(model.components):
        offload.wrap(module, name)
    assert torch.equal(picture(model), plain)


def test_calls_park_as_they_do_elsewhere() -> None:
    gather = Gather()
    pipeline = tiny.sd15()
    offload = Offload(CPU)
    for name in ("text_encoder", "unet", "vae"):
        offload.wrap(getattr(pipeline, name), name)
        gather.wrap(getattr(pipeline, name), name)
    pipeline.set_progress_bar_config(disable=True)
    make = lambda: pipeline("a cat", num_inference_steps=2, output_type="pt").images.shape  # noqa: E731
    assert values(run_all(gather, {1: make}))[1] == (1, 3, 16, 16)
    assert offload.resident == ("vae",)


def test_parts_that_take_turns_at_each_step_stay_together() -> None:
    offload = Offload(CPU)
    unet, net, vae = (torch.nn.Linear(2, 2) for _ in range(3))
    for part, name in ((unet, "unet"), (net, "controlnet"), (vae, "vae")):
        offload.wrap(part, name)
    row = torch.ones(1, 2)
    unet(row)
    net(row)
    assert offload.resident == ("unet", "controlnet")
    vae(row)
    assert offload.resident == ("vae",)


def test_parts_that_share_weights_move_them_once() -> None:
    offload = Offload(CPU)
    one, other = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2)
    other.weight = one.weight
    resting = one.weight.data_ptr()
    offload.wrap(one, "unet")
    offload.wrap(other, "unet")
    row = torch.ones(1, 2)
    one(row)
    there = one.weight.data_ptr()
    other(row)
    assert one.weight.data_ptr() == there != resting
    offload.rest()
    assert one.weight.data_ptr() == resting


def test_a_part_that_cannot_be_moved_stays_where_it_was_as_a_whole() -> None:
    part = torch.nn.Sequential(*(torch.nn.Linear(2, 2, bias=False) for _ in range(3)))
    part[2].weight = torch.nn.Parameter(torch.empty(2, 2, device="meta"))
    offload = Offload(CPU)
    offload.wrap(part, "unet")
    resting = weights(part)
    with pytest.raises(NotImplementedError, match="meta"):
        part(torch.ones(1, 2))
    assert offload.resident == ()
    assert weights(part) == resting


def test_only_a_card_that_asks_for_it_and_only_off_the_cpu() -> None:
    asked = ModelCard(name="m", source="s", offload="model")
    assert is_offloaded(asked, torch.device("cuda"))
    assert not is_offloaded(asked, CPU)
    assert not is_offloaded(ModelCard(name="m", source="s"), torch.device("cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd35"])
def test_on_cuda_parts_wait_in_the_host_s_memory(family: str, tmp_path: Path) -> None:
    tiny.write(family, tmp_path)
    models = tiny.Catalog([ModelCard(name="m", source=".")], "m", tmp_path)
    card = ModelCard(name="m", source=".", dtype="float32", offload="model")
    cuda = torch.device("cuda")
    model = pipelines.load(card, models, Gather(), cuda)
    whole = pipelines.load(card.model_copy(update={"offload": "none"}), models, Gather(), cuda)
    assert (picture(model) - picture(whole).cpu()).abs().max() < 1e-3
    model.offload.rest()
    network = model.components.get("unet") or model.components["transformer"]
    assert isinstance(network, torch.nn.Module)
    assert {each.device.type for each in network.parameters()} == {"cpu"}
