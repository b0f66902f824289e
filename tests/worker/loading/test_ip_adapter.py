from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.errors import UnsupportedError
from tests import tiny_adapters as shelf
from tests.adapter_kit import (
    Kit,
    asked,
    ip_adapter,
    latents,
    lora,
    loras,
    save,
)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("family", "does not fit"),
        ("layers", "made for 3 layers, the model has 4"),
        ("faces", "FaceID"),
        ("pickle", "could run code"),
        ("damaged", "damaged"),
        ("encoder", "no image encoder; name one"),
        ("encoder pickle", "could run code"),
        ("encoder missing", "weights are missing"),
        ("nowhere", "is missing: there is no such file or folder"),
        ("page", "is no IP-Adapter, but a web page"),
        ("more", "is of a kind that is not read: it holds ip_adapter.99.to_q.weight"),
        ("infinite", "not finite in float64"),
        ("shape", "weights of another shape"),
    ],
)
def test_an_ip_adapter_that_cannot_be_used_is_named_and_harms_nothing_else(
    spoil: str, words: str, kits: dict[str, Kit], tmp_path: Path
) -> None:
    kit, bad = kits["sd15"], tmp_path / "bad"
    shelf.write_ip_adapter("sdxl" if spoil == "family" else "sd15", bad, 4)
    card, weights = ip_adapter(bad), bad / shelf.IP_ADAPTER
    tensors, encoder = load_file(weights), bad / "image_encoder" / "model.safetensors"
    if spoil == "layers":
        save(bad, {k: v for k, v in tensors.items() if ".7." not in k}, shelf.IP_ADAPTER)
    elif spoil == "faces":
        more = {"ip_adapter.0.to_q_lora.down.weight": torch.zeros(2, 2)}
        save(bad, tensors | more, shelf.IP_ADAPTER)
    elif spoil == "pickle":
        card["weight_name"] = "ip-adapter.bin"
    elif spoil == "damaged":
        weights.write_bytes(weights.read_bytes()[:500])
    elif spoil == "encoder":
        del card["image_encoder"]
    elif spoil == "encoder pickle":
        encoder.rename(encoder.with_suffix(".bin"))
    elif spoil == "encoder missing":
        read = load_file(encoder)
        read.pop(sorted(read)[3])
        save_file(read, encoder, metadata={"format": "pt"})
    elif spoil == "page":
        weights.write_text("<!DOCTYPE html>")
    elif spoil == "more":
        save(bad, tensors | {"ip_adapter.99.to_q.weight": torch.zeros(2)}, shelf.IP_ADAPTER)
    elif spoil == "infinite":
        save(bad, {k: v / 0 for k, v in tensors.items()}, shelf.IP_ADAPTER)
    elif spoil == "shape":
        cut = {k: v[..., :3].contiguous() for k, v in tensors.items()}
        save(bad, cut, shelf.IP_ADAPTER)
    elif spoil == "nowhere":
        card["source"] = str(tmp_path / "nowhere")
    inks = [lora(kit.folder / "ink", "ink")]
    model = kit.load(ip_adapter=card, loras=inks)
    assert not model.record.reference
    assert list(model.record.faults) == ["ip_adapter"]
    assert words in model.record.faults["ip_adapter"]
    request = asked(model, loras=loras(ink=1.0))
    assert torch.equal(latents(model, request), latents(kit.model, request))
    with pytest.raises(UnsupportedError, match="cannot be used"):
        model.adapters.choose(asked(model, reference_images=["file_" + "0" * 64]))
