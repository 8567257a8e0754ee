"""Directions in the residual stream: probes, steering, their effects."""

from typing import TYPE_CHECKING

from circuitkit.moved import old_names

if not TYPE_CHECKING:
    __getattr__ = old_names(__name__)
