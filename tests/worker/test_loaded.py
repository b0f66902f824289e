import os
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from redis import Redis
from torch.nn.modules.module import register_module_forward_pre_hook

from darkroom.errors import (
    DeviceMemoryError,
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedError,
)
from darkroom.live_catalog import LiveCatalog
from darkroom.lora_folder import LoraFolder
from darkroom.queue.model_records import ModelRecords
from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import asked, loras
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loaded import LoadedModels
from worker.loading.memory import held_bytes
from worker.loading.pipelines import LoadedModel
from worker.loading.weights import modules_of

CPU = torch.device("cpu")
NAMES = ("one", "two", "three")
OURS = 'source = "sd15"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for family in ("sd15", "gligen"):
        tiny.write(family, folder / family)
    (folder / "broken").mkdir()
    return folder


class Here:
    """Models as an engine keeps them, with room for so many of `tiny`'s."""

    def __init__(self, folder: Path, redis: Redis, *, room: float, **cards: str) -> None:
        entries = dict.fromkeys(NAMES, "") | cards
        (folder / "models.toml").write_text(
            "".join(
                f'[[models]]\nname = "{name}"\n{more if "source" in more else OURS + more}\n'
                for name, more in entries.items()
            )
            + '[[models]]\nname = "broken"\nsource = "broken"\n'
        )
        self.gather, self.records = Gather(), ModelRecords(redis)
        self.states: list[tuple[str, ...]] = []
        self.evicted = 0
        self.catalog = LiveCatalog(folder / "models.toml")
        self.models = LoadedModels(
            self.catalog,
            self.records.put,
            self.gather,
            CPU,
            worker="w",
            loading=self._loading,
            evicted=self._on_evicted,
            limit_gb=room * size_of_one(folder) / 2**30,
        )

    @contextmanager
    def _loading(self, name: str) -> Iterator[None]:
        assert name in (*NAMES, "broken")
        self.states.append(("loading", *self.models.names))
        self.loads_at = time.monotonic()
        yield
        self.states.append(("ready", *self.models.names))

    def _on_evicted(self) -> None:
        self.evicted += 1


@cache
def size_of_one(folder: Path) -> int:
    return sum(
        held_bytes([each])
        for _, each in modules_of(tiny.load("sd15", folder / "sd15", Gather()).components)
    )


@pytest.fixture
def make(folder: Path, redis: Redis):
    return lambda room, **cards: Here(folder, redis, room=room, **cards)


def test_a_model_is_loaded_once_and_found_again(make) -> None:
    here = make(3)
    assert here.models.load("one") is here.models.load("one") is here.models.get("one")
    with pytest.raises(KeyError):
        here.models.get("two")
    assert here.states == [("loading",), ("ready",)]
    assert here.records.all()["one"].worker == "w"


def test_the_least_recently_used_makes_room(make) -> None:
    here = make(2.5)
    for name in ("one", "two", "one", "three"):
        here.models.load(name)
    assert sorted(here.models.names) == ["one", "three"]
    assert here.evicted == 1


def test_without_a_limit_all_stay(make) -> None:
    here = make(0)
    for name in NAMES:
        here.models.load(name)
    assert here.models.names == NAMES


def test_a_pinned_model_stays_whoever_else_leaves(make) -> None:
    here = make(2.5, one="pinned = true")
    for name in NAMES:
        here.models.load(name)
    assert sorted(here.models.names) == ["one", "three"]


def test_a_model_with_jobs_is_waited_for(make) -> None:
    here = make(1.5)
    here.models.load("one")
    assert here.models.load_beside("two", busy={"one"}) is None
    assert here.models.names == ("one",)
    assert here.models.load_beside("two", busy=set()).record.name == "two"
    assert here.models.names == ("two",)


def test_two_models_of_one_job_are_in_memory_together(make) -> None:
    here = make(2.5)
    here.models.load("three")
    here.models.load("two")
    found = here.models.load_together(["one", "two"], set())
    assert [each.record.name for each in found] == ["one", "two"]
    assert sorted(here.models.names) == ["one", "two"]
    assert here.models.has_room_for(["one", "two"], {"one"})


def test_one_of_two_models_waits_for_another_with_jobs(make) -> None:
    here = make(2.5)
    here.models.load("three")
    assert not here.models.has_room_for(["one", "two"], {"three"})
    assert here.models.load_together(["one", "two"], {"three"}) is None
    assert here.models.has_room_for(["one", "two"], set())
    assert here.models.load_together(["one", "two"], set()) is not None


def test_two_models_that_never_fit_together_are_refused(make) -> None:
    here = make(1.5)
    assert here.models.has_room_for(["one", "two"], set()), "so that the job fails"
    with pytest.raises(DeviceMemoryError, match="'two' does not fit into memory beside 'one'"):
        here.models.load_together(["one", "two"], set())
    here.models.load("two")
    assert here.models.names == ("two",)


def test_nobody_waits_for_a_model_that_is_not_there(make) -> None:
    here = make(2.5, two='source = "owner/away"')
    gone = "'nameless': it is in models.toml no more"
    for name, error, words in (
        ("two", ModelLoadError, "owner/away is no folder"),
        ("nameless", ModelNotFoundError, gone),
    ):
        assert here.models.has_room_for(["one", name], set())
        with pytest.raises(error, match=words):
            here.models.load_together(["one", name], set())


def test_an_idle_model_leaves_rather_than_anybody_waits(make) -> None:
    here = make(2.5)
    here.models.load("one")
    here.models.load("two")
    assert here.models.load_beside("three", busy={"one"}) is not None
    assert sorted(here.models.names) == ["one", "three"]


def test_nobody_leaves_in_vain(make) -> None:
    """Room for one and a half beside a pinned one: two idle ones would have to go, and one of
    them is busy."""
    here = make(2.5, one="pinned = true")
    here.models.load("one")
    here.models.load("two")
    assert here.models.load_beside("three", busy={"two"}) is None
    assert sorted(here.models.names) == ["one", "two"]


@pytest.mark.parametrize(("room", "words"), [(0.5, "can be had"), (1.5, "beside one, which never")])
def test_what_can_never_fit_says_so(room: float, words: str, make) -> None:
    here = make(room, one="pinned = true")
    if room > 1:
        here.models.load("one")
    with pytest.raises(DeviceMemoryError, match=words) as caught:
        here.models.load("two")
    assert (caught.value.code, caught.value.retryable) == ("out_of_memory", False)
    assert here.records.all()["two"].error == str(caught.value)
    assert here.models.names == (("one",) if room > 1 else ())


@pytest.mark.parametrize(("size", "free", "again"), [(2, 0.5, True), (0.5, 0.5, False)])
def test_what_others_leave_no_room_for_may_fit_later(
    size: float, free: float, again: bool, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a driver would say of a device `size` times as large as the model, `free` of it."""
    here = make(0)
    monkeypatch.setattr(here.models._room, "_device", torch.device("cuda", 0))
    need = here.models._room.need(here.catalog.find("one"))
    told = int(free * need), int(size * need)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: told)
    with pytest.raises(DeviceMemoryError, match="can be had") as caught:
        here.models.load("one")
    assert caught.value.retryable is again


def test_nothing_of_an_evicted_model_is_left(make) -> None:
    """GLIGEN's switch is state that a gather keeps for its module."""
    here = make(2.9, two='source = "gligen"')
    gone = [weakref.ref(each) for each in _after_a_job(here.gather, here.models.load("two"))]
    assert len(here.gather.states) == 1
    here.models.load("one")
    here.models.load("three")
    assert here.models.names == ("one", "three")
    assert [each() for each in gone if each() is not None] == []
    assert here.gather.states == ()


def _after_a_job(gather: Gather, model: LoadedModel) -> list[torch.nn.Module]:
    view = model.view("text-to-image", "DDIMScheduler")
    job = {1: lambda: view("a cat", num_inference_steps=2, output_type="pt").images.shape}
    values(run_all(gather, job))
    return [module for _, module in modules_of(model.components)]


def test_a_model_that_cannot_be_loaded_harms_no_other(make) -> None:
    here = make(1.5)
    here.models.load("one")
    states = here.gather.states
    with pytest.raises(ModelLoadError, match="model_index") as caught:
        here.models.load("broken")
    assert here.records.all()["broken"].error == str(caught.value)
    assert here.models.names == ("one",)
    assert here.gather.states == states
    with pytest.raises(ModelLoadError):
        here.models.load("broken")
    assert here.states[-2:] == [("ready",), ("loading", "one")]


def test_a_warm_model_has_made_a_picture(make) -> None:
    here = make(2.5, two="warmup = true")
    called: list[str] = []
    hook = register_module_forward_pre_hook(lambda module, _: called.append(type(module).__name__))
    try:
        here.models.load("one")
        assert "Decoder" not in called  # its autoencoder has seen a picture, for previews
        here.models.load("two")
    finally:
        hook.remove()
    assert {"CLIPTextModel", "Decoder", "UNet2DConditionModel"} & set(called) >= {"Decoder"}


def test_the_time_of_a_load_is_all_of_it(make) -> None:
    here = make(2.5, two="warmup = true")
    decoded_s: list[float] = []

    def take_long(module: torch.nn.Module, _: object) -> None:
        if type(module).__name__ == "Decoder":
            threading.Event().wait(0.2)
            decoded_s.append(time.monotonic() - here.loads_at)

    hook = register_module_forward_pre_hook(take_long)
    try:
        record = here.models.load("two").record
    finally:
        hook.remove()
    assert record.load_s > decoded_s[0] - 0.1
    assert record.compile_s is None
    assert here.records.all()["two"].load_s == record.load_s
    assert record.load_pauses_others


def test_what_was_compiled_is_told_beside_and_counted_in(
    make, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    try:
        record = make(2.5, two="compile = true").models.load("two").record
    finally:
        torch._dynamo.reset()
    assert 0 < record.compile_s < record.load_s
    assert record.faults == {}


def test_a_model_that_makes_no_picture_is_not_offered(make) -> None:
    here = make(5, two='source = "gligen"\nwarmup = true')

    def refuse(module: torch.nn.Module, _: object) -> None:
        if type(module).__name__ == "Decoder":
            raise ArithmeticError("the picture is no number")

    hook = register_module_forward_pre_hook(refuse)
    try:
        with pytest.raises(ModelLoadError, match=r"makes no picture.*is no number"):
            here.models.load("two")
    finally:
        hook.remove()
    assert here.gather.states == ()  # GLIGEN's switch is one


def test_when_memory_runs_out_on_the_way_others_leave_first(make) -> None:
    """The files do not tell all: warming up can need more than there is beside the others."""
    here = make(0, two="warmup = true")
    here.models.load("one")

    def refuse(*_: object) -> None:
        if here.models.names:
            raise torch.OutOfMemoryError("no room beside another model")

    hook = register_module_forward_pre_hook(refuse)
    try:
        assert here.models.load_beside("two", busy={"one"}) is None
        assert here.models.load_beside("two", busy=set()) is not None
    finally:
        hook.remove()
    assert here.models.names == ("two",)


def test_a_model_without_memory_for_itself_fails(make) -> None:
    here = make(0, two="warmup = true")

    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("no room at all")

    hook = register_module_forward_pre_hook(refuse)
    try:
        with pytest.raises(DeviceMemoryError) as caught:
            here.models.load("two")
        assert caught.value.retryable, "others may have taken the memory"
    finally:
        hook.remove()
    assert here.models.names == ()
    assert here.gather.states == ()


def test_a_model_whose_card_changed_is_loaded_anew_once_its_jobs_have_ended(make, folder) -> None:
    here = make(1.5)
    old = here.models.load("one")
    file = folder / "models.toml"
    file.write_text(file.read_text().replace('name = "one"', 'name = "one"\nmax_jobs = 2'))
    assert here.catalog.refresh()
    here.models.forget_faults()
    assert not here.models.has_room_for(["one"], {"one"})
    assert here.models.load_beside("one", {"one"}) is None
    assert here.models.get("one") is here.models.use("one") is old
    assert here.models.has_room_for(["one"], set())
    assert here.models.load("one") is not old
    assert here.models.entry("one").card.max_jobs == 2


def test_a_model_whose_file_was_written_over_is_loaded_anew(make, tmp_path: Path) -> None:
    for name in ("own", "other"):
        tiny.write("sd15", tmp_path / name)
    here = make(0, one=f'source = "{tmp_path}/own"')
    weights = Path("unet", "diffusion_pytorch_model.safetensors")
    ours, other = tmp_path / "own" / weights, tmp_path / "other" / weights
    old = here.models.load("one")
    assert not here.models.entry("one").is_overwritten
    os.replace(shutil.copy(ours, tmp_path / "copy"), ours)  # of what was mapped nothing changes
    assert here.models.load("one") is old
    old = reload(here, "one")
    shutil.copyfile(other, ours)
    assert here.models.entry("one").is_overwritten
    assert here.models.load_beside("one", {"one"}) is None, "its jobs end first"
    assert here.models.load("one") is not old
    assert not here.models.entry("one").is_overwritten


def reload(here: Here, name: str) -> LoadedModel:
    here.models.evict_idle(frozenset())
    return here.models.load(name)


def test_loras_that_come_later_count_as_memory(make, tmp_path: Path) -> None:
    here = make(0)
    here.catalog.uploads = LoraFolder(tmp_path / "loras")
    shelf.write_lora("sd15", tmp_path / "ink", 0)
    model = here.models.load("one")
    before = here.models._loaded["one"].size
    received = here.catalog.uploads.begin("one", "mark")
    shutil.copy(tmp_path / "ink" / shelf.LORA, received)
    here.catalog.uploads.keep(received, "one", "ink")
    here.models.bring("one", asked(model, loras=loras(ink=1.0)), alone=True)
    more = here.models._loaded["one"].size - before
    file = (tmp_path / "ink" / shelf.LORA).stat().st_size
    assert 0.5 * file < more <= 1.5 * file


def test_an_upload_that_cannot_be_used_is_told_to_all(make, tmp_path: Path) -> None:
    here = make(0)
    here.catalog.uploads = LoraFolder(tmp_path / "loras")
    shelf.write_lora("sdxl", tmp_path / "xl", 0)
    model = here.models.load("one")
    received = here.catalog.uploads.begin("one", "mark")
    shutil.copy(tmp_path / "xl" / shelf.LORA, received)
    here.catalog.uploads.keep(received, "one", "xl")
    with pytest.raises(UnsupportedError, match="cannot be used"):
        here.models.bring("one", asked(model, loras=loras(xl=1.0)), alone=True)
    assert "does not fit" in here.records.all()["one"].refused_uploads["xl"].reason


def test_a_model_that_is_listed_no_more_leaves_once_its_jobs_have_ended(make) -> None:
    here = make(0)
    here.models.load("one")
    del here.catalog.cards["one"]
    here.models.let_go_removed({"one"})
    assert here.models.names == ("one",)
    here.models.let_go_removed(set())
    assert here.models.names == ()
