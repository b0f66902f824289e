"""Darkroom: what the service and the workers agree on; knows neither HTTP nor torch."""

__version__ = "0.2.0"
