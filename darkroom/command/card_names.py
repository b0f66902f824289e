"""Names for cards of models.toml, from names of files; of the command line only.

Names have letters and digits of ASCII alone. Letters that have such as their base lose their marks
(é is e); of scripts whose letters Unicode calls by their sounds, the sounds stand in their place
(ж is zh, か is ka, 한 is han); of what then is left, such as Chinese characters, the numbers (水 is
u6C34), so that people find it again.
"""

import re
import unicodedata
from collections.abc import Collection

LONGEST = 60
"""Characters; with a number behind it a name may have 64."""

_WRITTEN = """
æ:ae œ:oe ø:o ł:l đ:d ð:d þ:th ß:ss ı:i ŋ:ng
а:a б:b в:v г:g ґ:g д:d е:e є:ye ж:zh з:z и:i і:i ї:yi й:y к:k л:l м:m н:n о:o п:p р:r с:s т:t у:u
ф:f х:kh ц:ts ч:ch ш:sh щ:shch ъ: ы:y ь: э:e ю:yu я:ya
α:a β:b γ:g δ:d ε:e ζ:z η:i θ:th ι:i κ:k λ:l μ:m ν:n ξ:x ο:o π:p ρ:r σ:s ς:s τ:t υ:y φ:f χ:ch ψ:ps
ω:o
"""
_LETTERS = dict(pair.split(":") for pair in _WRITTEN.split())
"""Letters of Latin, Cyrillic and Greek that are no other letter with a mark."""
_SOUND = re.compile(r"(?:HIRAGANA|KATAKANA) LETTER (?:SMALL )?(\w+)|HANGUL SYLLABLE (\w+)")


def clean(stem: str, otherwise: str = "model") -> str:
    """A name as cards have it, from that of a file without its ending."""
    plain = "".join(map(_latin, unicodedata.normalize("NFKC", stem)))
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    return kept.strip("-._")[:LONGEST].strip("-._") or otherwise


def free(name: str, taken: Collection[str]) -> str:
    """The name, or another if somebody has it."""
    number, own = 2, name
    while own in taken:
        own, number = f"{name[:LONGEST]}-{number}", number + 1
    return own


def _latin(letter: str) -> str:
    """What stands for a letter beyond ASCII in a name."""
    if letter.isascii():
        return letter
    if (known := _LETTERS.get(letter.lower())) is not None:
        return known if letter.islower() else known.capitalize()
    if sound := _SOUND.match(unicodedata.name(letter, "")):
        return (sound[1] or sound[2]).lower()
    base = unicodedata.normalize("NFD", letter)
    if len(base) > 1 or unicodedata.combining(letter):
        return "".join(_latin(each) for each in base if not unicodedata.combining(each))
    return f"u{ord(letter):04X}" if letter.isalpha() else "-"
