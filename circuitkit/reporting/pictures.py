"""The pictures of a report: each is drawn, or its place says in one sentence why it is missing.

A picture is never worth a run: what draws it may be absent or broken on a machine, and the numbers
are all in the tables.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from circuitkit.errors import PictureError, PictureWarning

Picture = TypeVar("Picture", str, bytes)


@dataclass(frozen=True)
class Missing:
    """A picture that could not be drawn."""

    why: str

    @property
    def says(self) -> str:
        """The sentence that stands in its place."""
        return f"This picture is missing, as {self.why}; the tables hold its numbers."


class Album:
    """Draws the pictures of one report, and keeps why some are missing."""

    def __init__(self) -> None:
        self._whys: dict[str, None] = {}  # in the order in which they came up

    def drawn(self, draw: Callable[[], Picture]) -> Picture | Missing:
        """Return what `draw` draws; if it cannot, what is missing."""
        try:
            return draw()
        except PictureError as error:
            self._whys[error.why] = None
            return Missing(error.why)

    def warn(self) -> None:
        """Tell the user, once a reason, that pictures are missing."""
        for why in self._whys:
            says = f"Pictures are missing, as {why}; everything else is written."
            warnings.warn(says, PictureWarning, stacklevel=3)
