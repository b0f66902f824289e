import shutil
from pathlib import Path

import pytest
import torch

from darkroom.catalog import Catalog
from darkroom.errors import UnsupportedError
from darkroom.lora_folder import LoraFolder, mark_of
from darkroom.model_card import ModelCard
from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import asked, ip_adapter, latents, lora, loras, making
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.pipelines import LoadedModel


class Here:
    """A model whose clients upload LoRAs, and what its card may name."""

    def __init__(self, folder: Path, **card: object) -> None:
        tiny.write("sd15", folder / "model")
        self.folder, self.gather = folder, Gather()
        for seed, name in enumerate(("ink", "oil")):
            shelf.write_lora("sd15", folder / name, seed, rank=2 + seed)
        self.uploads = LoraFolder(folder / "loras")
        self.model = self.load(**card)

    def load(self, uploads: bool = True, **card: object) -> LoadedModel:
        made = ModelCard(name="m", source="model", dtype="float64", **card)
        catalog = Catalog([made], "m", self.folder, uploads=self.uploads if uploads else None)
        gather = self.gather if uploads else Gather()
        return pipelines.load(made, catalog, gather, torch.device("cpu"))

    def put(self, source: str, name: str) -> None:
        received = self.uploads.begin("m", "mark")
        shutil.copy(self.folder / source / shelf.LORA, received)
        self.uploads.keep(received, "m", name)

    def make(self, alone: bool = True, **fields: object) -> torch.Tensor:
        request = asked(self.model, **fields)
        self.model.adapters.bring(request, alone=alone)
        return latents(self.model, request)

    @property
    def keys(self) -> set[str]:
        """The changes that layers hold."""
        unet = self.model.adapters.adapted["unet"]
        return {key for layer in unet.modules() for key in getattr(layer, "changes", ())}


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_an_upload_makes_what_the_same_file_of_a_card_makes(here: Here) -> None:
    plain = here.make()
    here.put("ink", "new.1")
    made = here.make(loras=loras(**{"new.1": 0.5}))
    named = here.load(uploads=False, loras=[lora(here.folder / "ink", "ink")])
    assert torch.equal(made, latents(named, asked(named, loras=loras(ink=0.5))))
    assert torch.equal(here.make(), plain)
    assert not torch.equal(made, plain)


def test_what_takes_its_place_is_read_and_running_jobs_keep_what_they_have(here: Here) -> None:
    here.put("ink", "x")
    request = asked(here.model, loras=loras(x=1.0))
    first = here.make(loras=loras(x=1.0))
    here.gather.start("running", making(here.model, request))
    here.put("oil", "x")
    later = asked(here.model, loras=loras(x=1.0), seed=1)
    here.model.adapters.bring(later, alone=False)
    assert len(here.keys) == 2
    second = values(run_all(here.gather, {"later": making(here.model, later)}))
    assert torch.equal(second["running"], first)
    oil = here.load(uploads=False, loras=[lora(here.folder / "oil", "oil")])
    expected = latents(oil, asked(oil, loras=loras(oil=1.0), seed=1))
    assert torch.equal(second["later"], expected)
    assert not torch.equal(here.make(loras=loras(x=1.0)), first)
    assert len(here.keys) == 1


def test_a_deleted_upload_is_gone_for_new_jobs_and_its_memory_once_nobody_runs(here: Here) -> None:
    here.put("ink", "x")
    here.make(loras=loras(x=1.0))
    here.uploads.delete("m", "x")
    with pytest.raises(UnsupportedError, match="has no LoRA 'x'"):
        here.make(alone=False, loras=loras(x=1.0))
    assert len(here.keys) == 1
    here.make()
    assert here.keys == set()


def test_an_upload_that_does_not_fit_fails_its_job_with_the_reason_and_harms_nothing(
    here: Here,
) -> None:
    shelf.write_lora("sdxl", here.folder / "xl", 1)
    here.put("xl", "xl")
    here.put("ink", "ink")
    plain = here.make()
    for _ in range(2):
        with pytest.raises(UnsupportedError, match=r"'m' cannot be used: .* made for"):
            here.make(loras=loras(xl=1.0))
    here.make(loras=loras(ink=1.0))
    assert torch.equal(here.make(), plain)
    [(name, wrong)] = here.model.adapters.refused_uploads.items()
    assert (name, wrong.file) == ("xl", mark_of(here.uploads.file("m", "xl")))
    assert "made for" in wrong.reason
    here.put("ink", "xl")
    assert here.model.adapters.refused_uploads == {}


def test_uploads_work_beside_reference_images_and_the_card_s_own(tmp_path: Path) -> None:
    shelf.write_lora("sd15", tmp_path / "own", 7)
    shelf.write_ip_adapter("sd15", tmp_path / "reference", 4)
    own = {
        "loras": [lora(tmp_path / "own", "own")],
        "ip_adapter": ip_adapter(tmp_path / "reference"),
    }
    here = Here(tmp_path, **own)
    here.put("ink", "ink")
    here.put("oil", "own")  # the card's stays
    both = {
        "loras": loras(own=0.5, ink=0.5),
        "reference_images": ["file_" + "0" * 64],
        "reference_scale": 0.4,
    }
    card = own | {"loras": [*own["loras"], lora(tmp_path / "ink", "ink")]}
    named = here.load(uploads=False, **card)
    assert torch.equal(here.make(**both), latents(named, asked(named, **both)))
