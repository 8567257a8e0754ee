"""What weights alone say: OV and QK products, composition, skip trigrams."""

from typing import TYPE_CHECKING

from circuitkit.moved import old_names

if not TYPE_CHECKING:
    __getattr__ = old_names(__name__)
