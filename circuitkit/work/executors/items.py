"""Items of long work, and the executor that computes them where it is asked: in this process.

    Item(model, pairs, what, range) -> numbers

An item says all that its numbers depend on beside the recipe of the work, so that whoever computes
it, and in which order, makes no difference. Items and numbers can be pickled; models never are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Item:
    """One piece of long work.

    `model` is the reference and `pairs` the digest of what it is about, `what` is its name in
    messages and files of results, `range` how far it reaches. `positions` are, pair by pair, those
    at which something is changed; empty where all are.
    """

    model: str
    pairs: str
    what: str
    range: tuple[int, ...]
    positions: tuple[tuple[int, ...], ...] = ()


Compute = Callable[[Item], Sequence[float]]


@dataclass(frozen=True)
class Prepared:
    """A process that can compute items: all that its numbers depend on, as text, and how."""

    identity: Mapping[str, str]
    compute: Compute


Maker = Callable[[int], Prepared]
"""Prepares worker number 0, 1, ...; pickled, so it names a model and never holds one."""


@runtime_checkable
class Executor(AbstractContextManager["Executor"], Protocol):
    """Who computes items. Leaving the block ends all that it started."""

    def results(
        self, items: Sequence[Item], own: Prepared
    ) -> Iterator[tuple[Item, Sequence[float]]]:
        """Yield the numbers of every item, each as soon as it is done, in any order.

        `own` is this process, prepared; other processes must be of the same identity.

        Raises:
            WorkerError: workers that cannot be had, are of another identity, or keep dying.
            Exception: that of the first item that fails.
        """


class InProcess(Executor):
    """One item after the other, in this process."""

    def results(
        self, items: Sequence[Item], own: Prepared
    ) -> Iterator[tuple[Item, Sequence[float]]]:
        for item in items:
            yield item, own.compute(item)

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


IN_PROCESS = InProcess()
