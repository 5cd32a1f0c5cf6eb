"""Durations and sizes as nginx writes them."""

from __future__ import annotations


def parse_duration(value: object) -> object:
    """Placeholder until the loader lands."""
    return value


def parse_size(value: object) -> object:
    """Placeholder until the loader lands."""
    return value
