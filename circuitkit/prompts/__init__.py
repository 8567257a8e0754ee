"""What a model reads: prompt pairs, tokenisation, prompt files, columns, splits."""

from typing import TYPE_CHECKING

from circuitkit.moved import old_names

if not TYPE_CHECKING:
    __getattr__ = old_names(__name__)
