from darkroom.variants import of_variant, only_variant, variants

PLAIN, HALF = "model.safetensors", "model.fp16.safetensors"
SHARDS = ["model-00001-of-00002.fp16.safetensors", "model.fp16-00002-of-00002.safetensors"]


def test_weights_of_a_variant_are_chosen_and_else_those_of_none() -> None:
    names = [PLAIN, HALF, "model.safetensors.index.json", "sd.safetensors"]
    assert of_variant(names, None) == of_variant(names, "bf16") == [PLAIN]
    assert of_variant(names, "fp16") == [HALF]
    assert of_variant(SHARDS, "fp16") == SHARDS
    assert of_variant(SHARDS, None) == []


def test_a_model_is_of_a_variant_if_a_part_has_nothing_else() -> None:
    assert variants([PLAIN, HALF, "config.json"]) == {None, "fp16"}
    assert only_variant([{None, "fp16"}, {"fp16"}, set()]) == "fp16"
    assert only_variant([{None, "fp16"}, {None}]) is None
    assert only_variant([{"bf16"}, {"fp16"}]) is None
