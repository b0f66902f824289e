"""Styles: words that requests can have put around their prompts."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from darkroom.cards import StyleCard
from service.dependencies import Here
from service.responses import Listing

router = APIRouter(tags=["models"])


class Style(BaseModel):
    """A style, as the operator wrote it into models.toml."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """What requests call it, in `style`."""
    model: str | None
    """The one model that has it; null: all. A model's own goes before that of all."""
    prompt: str
    """What becomes of a prompt, which stands in it as `{prompt}`."""
    negative_prompt: str
    """What is added to the negative prompt."""


@router.get("/styles")
async def list_styles(here: Here) -> Listing[Style]:
    """The styles of all models, then those of single ones."""
    catalog = here.catalog
    found = [_style(each, None) for each in catalog.styles]
    found += [_style(each, card.name) for card in catalog.cards.values() for each in card.styles]
    return Listing(data=found)


def _style(card: StyleCard, model: str | None) -> Style:
    return Style(model=model, **card.model_dump())
