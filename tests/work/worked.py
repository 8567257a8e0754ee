"""A light worker for tests: no model, no torch. Items say what becomes of it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from circuitkit.errors import ActivationError
from circuitkit.work.executors.items import Item, Prepared


def item(what: str, *numbers: int) -> Item:
    return Item("model", "pairs", what, numbers)


@dataclass(frozen=True)
class Squares:
    """Squares numbers, in a directory where what was done is noted."""

    directory: Path
    weights: str = "w"

    def __call__(self, number: int) -> Prepared:
        return Prepared({"weights": self.weights}, self._compute)

    def _compute(self, item: Item) -> list[float]:
        (self.directory / f"pid-{os.getpid()}").touch()
        if item.what == "die once" and self._is_first(item.what):
            os.kill(os.getpid(), signal.SIGKILL)
        if item.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if item.what == "fail":
            raise ActivationError("layer 3", 7)
        if item.what == "fail oddly":
            raise Odd(1, 2)
        if item.what == "no one there":
            raise EOFError("of the item's own")
        if item.what == "slow":
            time.sleep(60)
        return [float(n * n) for n in item.range]

    def _is_first(self, what: str) -> bool:
        mark = self.directory / what
        was_there = mark.exists()
        mark.touch()
        return not was_there


class Odd(Exception):
    """Cannot be read back once it is pickled."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__("odd")
