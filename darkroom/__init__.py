"""Darkroom: what the service and the workers agree on; knows neither HTTP nor torch."""

from typing import TYPE_CHECKING, Any

from darkroom.version import __version__

if TYPE_CHECKING:
    from darkroom.client.async_client import AsyncClient as AsyncClient
    from darkroom.client.client import Client as Client

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """The clients are imported when they are first asked for: no other process needs them."""
    if name not in ("AsyncClient", "Client"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from darkroom import client

    return getattr(client, name)
