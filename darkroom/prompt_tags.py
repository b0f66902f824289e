"""Tags in prompts, `<lora:ink:0.8>` above all; used by the service, knows neither HTTP nor torch.

As in A1111 a tag is no word: it is taken out before the rest is read. Here it becomes an entry of
the request's `loras`, so that the request shows what was done and repeats it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from darkroom.errors import FieldError
from darkroom.named_loras import nearest
from darkroom.offers import Offer
from darkroom.prompt_syntax import shown
from darkroom.request import MAX_LORAS
from darkroom.request_parts import MAX_LORA_SCALE

MOST_TAGS = 64
"""Tags of a prompt that are looked at."""
MOST_TOLD = 3
"""Tags of a prompt about which something is said each."""

LORA_KINDS = frozenset({"lora", "lyco", "locon", "loha", "lokr"})
"""All of them are files of LoRA's family, which A1111 and its extensions tell apart by content."""

_TAG = re.compile(r"(?<!\\)((?:\\\\){0,9})<(\w{1,20}):([^<>\n]{1,200})>")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")


@dataclass(frozen=True)
class Tag:
    """`<kind:name:argument:argument>`."""

    text: str
    """As it may stand in a sentence."""
    kind: str
    """In lower case."""
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Untagged:
    """A body without tags, and what is to be said of them."""

    body: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)


def tags_to_loras(asked: Mapping[str, Any], task: str, offer: Offer, allowed: bool) -> Untagged:
    """What a body asks for with tags in its prompts, asked for with `loras`; `allowed` is false
    where the operator wants prompts read as they stand."""
    made = Untagged(dict(asked))
    words = [each.token for each in offer.card.embeddings]
    for where in ("prompt", "negative_prompt"):
        text = asked.get(where)
        rest, tags = take_tags(text, words) if isinstance(text, str) else (text, [])
        if not tags:
            continue
        if len(tags) > MOST_TAGS:
            detail = f"Holds more than {MOST_TAGS} tags of LoRAs."
            made.errors.append(FieldError(f"/{where}", detail, "too_many"))
            continue
        if allowed:
            made.body[where] = rest
            _ask_for(made, where, tags, task, offer)
        else:
            off = "is read as words: LoRAs are named in `loras` here."
            made.warnings.extend(_few(where, [f"{tag.text} {off}" for tag in tags]))
    return made


def take_tags(text: str, words: Sequence[str] = ()) -> tuple[str, list[Tag]]:
    r"""A prompt without its tags of LoRAs and hypernetworks, and these. `\<lora:ink:1>` is text,
    and so are `words` of the model that look like tags. Of very many the first are taken."""
    tags = (each for each in _TAG.finditer(text) if _is_tag(each, words))
    matches = list(islice(tags, MOST_TAGS + 1))
    if not matches:
        return text, []
    ends = [0, *(each.end() for each in matches)]
    begins = [*(each.end(1) for each in matches), len(text)]
    rest = "".join(text[end:begin] for end, begin in zip(ends, begins, strict=True))
    # What has become a tag only now was text before.
    rest = _TAG.sub(lambda each: each[1] + "\\" * _is_tag(each, words) + _written(each), rest)
    return re.sub(" {2,}", " ", rest).strip(), [_tag(each) for each in matches]


def _is_tag(match: re.Match[str], words: Sequence[str]) -> bool:
    known = match[2].lower() in LORA_KINDS | {"hypernet"}
    return known and _written(match) not in words


def _written(match: re.Match[str]) -> str:
    return match[0][len(match[1]) :]


def _tag(match: re.Match[str]) -> Tag:
    name, *arguments = match[3].split(":")
    return Tag(shown(_written(match)), match[2].lower(), name.strip(), tuple(arguments))


def _ask_for(made: Untagged, where: str, tags: Sequence[Tag], task: str, offer: Offer) -> None:
    loras: list[dict[str, Any]] = []
    doubts: list[str] = []
    for tag in tags:
        if reason := _reason_against(tag, where, task, offer):
            doubts.append(f"{tag.text} was left out: {reason}")
        else:
            scale, said = _scale(tag)
            loras.append({"name": _known_name(tag.name, offer.loras), "scale": scale})
            doubts += [f"{tag.text} {each}" for each in said]
    made.warnings.extend(_few(where, doubts))
    given = made.body.get("loras") or []
    if not loras or not isinstance(given, list | tuple):
        return
    if len(given) <= MAX_LORAS < len(given) + len(loras):
        detail = f"With its tags the request names {len(given) + len(loras)} LoRAs; at most "
        detail += f"{MAX_LORAS} work together."
        made.errors.append(FieldError(f"/{where}", detail, "too_many"))
        return
    made.body["loras"] = [*given, *loras]


def _reason_against(tag: Tag, where: str, task: str, offer: Offer) -> str | None:
    model = f"the model {offer.card.name!r}"
    if tag.kind == "hypernet":
        return "Darkroom has no hypernetworks."
    if where != "prompt":
        return "a LoRA works on the whole picture; name it in prompt or in `loras`."
    listed = _known_name(tag.name, [each.name for each in offer.card.loras])
    if listed and not _known_name(tag.name, offer.loras):
        why = offer.faults.get(f"lora:{listed}")
        return f"{model} cannot use this LoRA{f': {why}' if why else ''}."
    if not offer.loras:
        return f"{model} has no LoRAs."
    if "loras" not in offer.takes(task):
        return f"{model} takes no LoRAs for {task}."
    if not _known_name(tag.name, offer.loras):
        return f"{model} has no LoRA of this name; it has {nearest(tag.name, offer.loras)}."
    return None


def _known_name(name: str, known: Sequence[str]) -> str | None:
    """The one of `known` that a tag means: people write names as files have them."""
    if name in known:
        return name
    alike = [each for each in known if _plain(each) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    file = re.split(r"[/\\]", name)[-1].casefold().removesuffix(".safetensors")
    return re.sub(r"[\s_-]+", "-", file.strip())


def _scale(tag: Tag) -> tuple[float, list[str]]:
    """The scale that a tag asks for, as A1111 has it: `:text encoder:UNet`, by place or by name;
    and what of it is not done."""
    by_name = dict(each.split("=", 1) for each in tag.arguments if "=" in each)
    by_place = [each for each in tag.arguments if "=" not in each]
    encoder = by_name.pop("te", "") or (by_place[0] if by_place else "")
    unet = by_name.pop("unet", "") or (by_place[1] if by_place[1:] else "") or encoder
    said = [(each, _number(each)) for each in (encoder, unet)]
    doubts = [
        f"weighs {shown(text)!r}, which is no number; 1 is taken."
        for text, number in dict(said).items()
        if number is None
    ]
    first, wanted = (1.0 if number is None else number for _, number in said)
    if first != wanted:
        doubts.append(f"has two weights; that of the UNet, {wanted:g}, is taken for all.")
    if by_name or by_place[2:]:
        doubts.append("says more than a weight, which is ignored.")
    scale = min(max(wanted, -MAX_LORA_SCALE), MAX_LORA_SCALE)
    if scale != wanted:
        doubts.append(f"weighs {wanted:g}; scales end at {scale:g}, which is taken.")
    return scale, doubts


def _number(text: str) -> float | None:
    """1 if nothing is said."""
    if not text.strip():
        return 1.0
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _few(where: str, doubts: Sequence[str]) -> list[str]:
    told = [f"{where}: {each}" for each in dict.fromkeys(doubts)][:MOST_TOLD]
    if more := len(set(doubts)) - len(told):
        told.append(f"{where}: the same or the like holds for {more} more tags.")
    return told
