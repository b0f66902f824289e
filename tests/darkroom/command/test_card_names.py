import pytest
from pydantic import TypeAdapter

from darkroom.cards import Name
from darkroom.command.card_names import clean, free


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("dreamshaper_8", "dreamshaper_8"),
        ("A cat (v1.2)!", "A-cat-v1.2"),
        ("Façade été", "Facade-ete"),
        ("Straße Łódź Ærø", "Strasse-Lodz-Aero"),
        ("Чёрная тушь", "Chernaya-tush"),
        ("Щука їжак", "Shchuka-yizhak"),
        ("μελάνι", "melani"),
        ("かな カナ", "kana-kana"),
        ("수묵화", "sumughwa"),
        ("水墨画", "u6C34u58A8u753B"),
        ("水墨 ink", "u6C34u58A8-ink"),
        ("ﬁne １２", "fine-12"),
        ("🌚", "model"),
        ("...", "model"),
        ("x" * 100, "x" * 60),
        ("画" * 40, "u753B" * 12),
        ("e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}", "ete"),
    ],
)
def test_names_are_those_that_people_recognise(stem: str, name: str) -> None:
    assert clean(stem) == name
    assert TypeAdapter(Name).validate_python(free(name, {name})) == f"{name}-2"


def test_names_are_unique() -> None:
    assert free("ink", {"oil"}) == "ink"
    assert free("ink", {"ink", "ink-2"}) == "ink-3"
