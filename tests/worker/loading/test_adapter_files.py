from pathlib import Path

from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import (
    TOKEN,
    Kit,
    ip_adapter,
    lora,
)
from worker.gathering.gather import Gather


def test_the_record_names_what_can_be_used(kits: dict[str, Kit]) -> None:
    record = kits["sd15"].model.record
    assert record.loras == ("ink", "oil", "wash")
    assert (record.controlnets, record.embeddings, record.reference) == (("edges",), (TOKEN,), True)
    assert record.faults == {}
    plain = kits["sd15"].plain.record
    assert (plain.loras, plain.reference, plain.faults) == ((), False, {})


def test_models_of_other_kinds_say_what_they_do_not_take(tmp_path: Path) -> None:
    shelf.write_controlnet(tmp_path / "edges", 1)
    model = tiny.load(
        "dit",
        tmp_path / "model",
        Gather(),
        loras=[lora(shelf.write_lora("sd15", tmp_path / "ink", 1), "ink")],
        controlnets=[{"name": "edges", "source": str(tmp_path / "edges")}],
        embeddings=[
            {"token": TOKEN, "source": str(shelf.write_embedding("sd15", tmp_path / "tabby", 1))}
        ],
        ip_adapter=ip_adapter(tmp_path),
    )
    assert set(model.record.faults) == {
        "lora:ink",
        "controlnet:edges",
        f"embedding:{TOKEN}",
        "ip_adapter",
    }
    assert all("DiTPipeline takes no" in fault for fault in model.record.faults.values())
