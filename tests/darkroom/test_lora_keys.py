import pytest

from darkroom.errors import ModelLoadError
from darkroom.lora_keys import factor, read_keys


def pair(layer: str = "unet.conv_in") -> dict[str, int]:
    return {f"{layer}.lora_A.weight": 1, f"{layer}.lora_B.weight": 2}


def test_layers_and_their_factors_are_found_in_every_spelling() -> None:
    found = read_keys(
        pair()
        | {"lora_unet_x.hada_w1_a": 3}
        | {f"lora_unet_x.hada_{n}": 4 for n in ("w1_b", "w2_a", "w2_b")}
    )
    assert found["unet.conv_in"] == {"down": 1, "up": 2}
    assert found["lora_unet_x"]["hada_w1_a"] == 3
    for key, side in {"a.lora.down": "down", "a.lora_up": "up", "a.lora_B.default": "up"}.items():
        assert factor(f"{key}.weight") == ("a", side)
    assert factor("a.alpha") is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("lora_unet_conv_in.oft_blocks", "is an OFT"),
        ("lora_unet_conv_in.a1.weight", "is a GLoRA"),
        ("lora_unet_norm1.w_norm", "layers that normalise"),
        ("lora_unet_conv_out.hada_w1_a", "missing: a part of lora_unet_conv_out"),
        ("lora_unet_conv_out.lokr_w1", "missing: a part of lora_unet_conv_out"),
        ("lora_unet_conv_out.on_input", "missing: a part of lora_unet_conv_out"),
        ("unet.conv_out.dora_scale", "missing: a part of unet.conv_out"),
        ("unet.conv_in.hada_w1_a", "missing: a half of unet.conv_in"),
        ("unet.conv_in.lora_B.bias", "changes biases"),
        ("bundle_emb.ink.string_to_param.*", "textual inversion besides"),
        ("unet.conv_in.weight", "besides a LoRA what belongs to none: unet.conv_in.weight"),
        ("unet.conv_in.lora.down.weight", "says twice what unet.conv_in becomes"),
        ("unet.conv_out.lora.down.weight", "missing: a half of unet.conv_out"),
        ("unet.conv_out.alpha", "missing: a part of unet.conv_out"),
        ("\x1b[31m" * 50, r"belongs to none: '\\x1b\[31m"),
    ],
)
def test_what_is_no_lora_of_this_kind_is_called_by_its_name(more: str, words: str) -> None:
    with pytest.raises(ModelLoadError, match=words) as caught:
        read_keys(pair() | {more: 1})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("mark", ["oft_diag", "oft_blocks", "boft_blocks", "b2.weight"])
def test_kinds_are_known_without_any_lora_beside_them(mark: str) -> None:
    with pytest.raises(ModelLoadError, match="not supported; LoRA, LoCon, LoHa"):
        read_keys({f"lora_unet_conv_in.{mark}": 1, "lora_unet_conv_in.alpha": 1})


def test_a_file_of_other_weights_is_no_lora() -> None:
    with pytest.raises(ModelLoadError, match="holds no weights at all"):
        read_keys({})
    with pytest.raises(ModelLoadError, match="is no LoRA: it holds a0, a1, a2 and 7 more"):
        read_keys({f"a{i}": 1 for i in range(10)})
