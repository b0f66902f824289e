"""Clients of any Darkroom URL, for programs in Python: one blocks, one is for event loops."""

from darkroom.client.async_client import AsyncClient
from darkroom.client.client import Client
from darkroom.client.event_stream import Event
from darkroom.client.fields import RequestFields
from darkroom.client.pictures import NoPicturesError, Picture
from darkroom.client.refusals import (
    ConnectionLostError,
    NoServiceError,
    RefusedError,
    UnreachableError,
)

__all__ = [
    "AsyncClient",
    "Client",
    "ConnectionLostError",
    "Event",
    "NoPicturesError",
    "NoServiceError",
    "Picture",
    "RefusedError",
    "RequestFields",
    "UnreachableError",
]
