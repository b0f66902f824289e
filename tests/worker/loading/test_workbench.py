import pytest

from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import (
    Kit,
    lora,
)
from worker.gathering.gather import Gather


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"weight_name": "adapter.safetensors"}, "adapter.safetensors is missing"),
        ({"weight_name": "adapter.bin"}, "adapter.bin could run code"),
        ({"weight_name": "disguise.lora"}, "disguise.lora could run code"),
        ({"source": "somebody/ink", "weight_name": "adapter.pt"}, "adapter.pt could run code"),
        ({"source": "somebody/ink"}, "not in the Hugging Face cache"),
    ],
)
def test_a_lora_s_file_can_be_named(more: dict[str, str], words: str, kits: dict[str, Kit]) -> None:
    kit = kits["sd15"]
    card = {
        "loras": [
            lora(kit.folder / "ink" / shelf.LORA, "file"),
            lora(kit.folder / "ink", "named") | {"weight_name": shelf.LORA},
            lora(kit.folder / "ink", "wrong") | more,
        ]
    }
    model = tiny.load("sd15", kit.folder / "model", Gather(), **card)
    assert model.record.loras == ("file", "named")
    assert words in model.record.faults["lora:wrong"]
