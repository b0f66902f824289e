"""The adapters that a card names now, and what a worker found of them when it loaded the model,
which may be another card's; used by all processes, knows neither HTTP nor torch."""

from collections.abc import Iterable, Iterator, Mapping

from darkroom.cards import ControlNetCard, IPAdapterCard, LoraCard
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord

_FIELDS = {"loras": "lora", "controls": "controlnet", "reference_images": "ip_adapter"}
"""What faults call the adapters that a field of a request names."""

AdapterCard = LoraCard | ControlNetCard | IPAdapterCard


def place(card: AdapterCard) -> str:
    """What an adapter is read from; faults begin with it."""
    parts = (card.source, getattr(card, "subfolder", ""), getattr(card, "weight_name", None))
    return "/".join(part for part in parts if part)


def current(record: ModelRecord, card: ModelCard) -> ModelRecord:
    """The record with the adapters of the card. One that the card names since, or from elsewhere,
    is of use until a worker has found otherwise, which loads the model anew for it; of one that was
    taken out nothing is left."""
    named: dict[str, AdapterCard] = {
        **{f"lora:{each.name}": each for each in card.loras},
        **{f"controlnet:{each.name}": each for each in card.controlnets},
        **({"ip_adapter": card.ip_adapter} if card.ip_adapter else {}),
    }
    faults = {what: why for what, why in record.faults.items() if _is_true(what, why, named)}
    return record.model_copy(
        update={
            "loras": _usable("lora", card.loras, faults),
            "controlnets": _usable("controlnet", card.controlnets, faults),
            "reference": card.ip_adapter is not None and "ip_adapter" not in faults,
            "faults": faults,
        }
    )


def reasons_for(field: str, faults: Mapping[str, str]) -> Iterator[str]:
    """Why adapters that the request's `field` could name cannot be used, a sentence each."""
    for what, why in faults.items():
        kind, _, name = what.partition(":")
        if kind == _FIELDS.get(field):
            yield f"{name or kind}: {why}."


def _is_true(what: str, why: str, named: Mapping[str, AdapterCard]) -> bool:
    """Whether a fault is none of an adapter, or of one as the card names it now."""
    if what.partition(":")[0] not in _FIELDS.values():
        return True
    return what in named and why.startswith(f"{place(named[what])}: ")


def _usable(
    kind: str, cards: Iterable[LoraCard | ControlNetCard], faults: Mapping[str, str]
) -> tuple[str, ...]:
    return tuple(each.name for each in cards if f"{kind}:{each.name}" not in faults)
