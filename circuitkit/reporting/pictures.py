"""The pictures of a report: each is drawn, or its place says in one sentence why it is missing.

A picture is never worth a run: what draws it may be absent or broken on a machine, and the numbers
are all in the tables.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

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
    """Draws the pictures of one report, each once, and keeps why some are missing."""

    def __init__(self) -> None:
        self._whys: dict[str, None] = {}  # in the order in which they came up
        self._made: dict[Any, Any] = {}  # by what draws and what of: HTML and Markdown share most

    def drawn(self, draw: Callable[..., Picture], *of: Any) -> Picture | Missing:
        """Return what `draw` draws of something; if it cannot, what is missing."""
        if (draw, of) not in self._made:
            self._made[draw, of] = self._attempt(draw, of)
        made: Picture | Missing = self._made[draw, of]
        return made

    def _attempt(self, draw: Callable[..., Picture], of: tuple[Any, ...]) -> Picture | Missing:
        try:
            return draw(*of)
        except PictureError as error:
            self._whys[error.why] = None
            return Missing(error.why)

    def warn(self) -> None:
        """Tell the user, once a reason, that pictures are missing."""
        for why in self._whys:
            says = f"Pictures are missing, as {why}; everything else is written."
            warnings.warn(says, PictureWarning, stacklevel=3)
