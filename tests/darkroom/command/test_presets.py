from darkroom.command.presets import FAMILIES, PRESETS, title
from darkroom.file_families import TRANSFORMERS, UNETS
from darkroom.model_card import ModelCard


def test_each_preset_and_each_family_makes_a_card() -> None:
    for name, preset in PRESETS.items():
        ModelCard(name=name, source=preset.source, licence=preset.licence, **preset.card)
    for name, family in FAMILIES.items():
        ModelCard(name=name, source="s", **family.card)


def test_families_have_names_for_people() -> None:
    known = {*UNETS.values(), *(name for name, _ in TRANSFORMERS)}
    assert {title(name) for name in FAMILIES if name in known}.isdisjoint(known)
    assert title("new-one") == "new-one"
    assert "does not tell" in title(None)
