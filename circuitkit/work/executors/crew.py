"""Workers: who has which item, what becomes of a worker that dies, and of an item that fails.

Every worker has at most two items: one that it computes, and one that it finds when that is done.
A worker that dies is started again and its items are given out anew; an item in which workers die
again and again, and one that raises an error, end the work at once.
"""

import pickle
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, runtime_checkable

from circuitkit.errors import WorkerError
from circuitkit.work.checkpoint import differences
from circuitkit.work.executors.items import Executor, Item, Maker, Prepared
from circuitkit.work.text import Verbatim, error_text, shown

IN_FLIGHT = 2  # items of a worker at most
MOST_DEATHS = 3  # of workers in one item, or before they are ready


@dataclass(frozen=True)
class Ready:
    """A worker is prepared."""

    worker: int
    identity: Mapping[str, str]


@dataclass(frozen=True)
class Done:
    """A worker has computed an item."""

    worker: int
    item: Item
    numbers: Sequence[float]


@dataclass(frozen=True)
class Failed:
    """An item, or what prepares a worker, raised an error."""

    worker: int
    error: BaseException
    item: Item | None  # None: it was not prepared yet


@dataclass(frozen=True)
class Died:
    """A worker is no more; `how` says in words what is known of it."""

    worker: int
    how: str


Event = Ready | Done | Failed | Died
Message = tuple[str, object]  # "ready" and an identity, "done" and numbers, "failed" and an error


@runtime_checkable
class Crew(Protocol):
    """Processes that can be started, given items, and listened to."""

    def start(self, worker: int, maker: Maker) -> None:
        """Start a worker of this number, which says `Ready` once it is prepared."""

    def send(self, worker: int, item: Item) -> None:
        """Give a worker an item; it computes them in the order in which they come."""

    def events(self) -> list[Event]:
        """Wait until something happens, and return it."""

    def stop(self) -> None:
        """End every worker, whatever it does, and wait until it has ended."""


class Workers(Executor):
    """An executor of several processes. They are started for the first item, and kept."""

    def __init__(self, crew: Crew, maker: Maker, n: int) -> None:
        self._crew, self._maker, self.n = crew, maker, n
        self._started: set[int] = set()
        self._ready: set[int] = set()
        self._are_same = False  # none works before all are known to be
        self._has: dict[int, deque[Item]] = {}
        self._deaths: Counter[Item | None] = Counter()  # None: before they were ready

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def results(
        self, items: Sequence[Item], own: Prepared
    ) -> Iterator[tuple[Item, Sequence[float]]]:
        waiting, left = deque(items), len(items)
        try:
            for worker in range(min(self.n, left)):
                self._start(worker)
            while left:
                self._are_same = self._are_same or self._ready == self._started
                if self._are_same:
                    self._give(waiting)
                for event in self._crew.events():
                    if isinstance(event, Done):
                        self._has[event.worker].remove(event.item)
                        left -= 1
                        yield event.item, event.numbers
                    else:
                        self._heed(event, own, waiting)
        except BaseException:
            if left:  # after the last item nobody need ask whether there is another
                self._stop()
            raise

    def _heed(self, event: Ready | Failed | Died, own: Prepared, waiting: deque[Item]) -> None:
        """Do what follows from an event that brings no numbers.

        Raises:
            WorkerError: the worker is not the same as this process, or too many died.
            Exception: that of an item that failed.
        """
        match event:
            case Ready(worker, identity):
                require_same(own.identity, identity, worker)
                self._ready.add(worker)
            case Failed(worker, error, item):
                doing = "being prepared" if item is None else f"computing {item.what}"
                error.add_note(f"In worker {worker}, {doing}.")
                raise error
            case Died(worker, how):
                self._replace(worker, how, waiting)

    def _start(self, worker: int) -> None:
        if worker not in self._started:
            self._started.add(worker)
            self._has[worker] = deque()
            self._crew.start(worker, self._maker)

    def _give(self, waiting: deque[Item]) -> None:
        """Give out items: the first to everyone before anyone has a second."""
        for depth in range(IN_FLIGHT):
            for worker in sorted(self._ready):
                if waiting and len(self._has[worker]) <= depth:
                    item = waiting.popleft()
                    self._has[worker].append(item)
                    self._crew.send(worker, item)

    def _replace(self, worker: int, how: str, waiting: deque[Item]) -> None:
        """Start a worker that died again, and let its items wait for whoever is free.

        Raises:
            WorkerError: too many died of the same.
        """
        lost = self._has.pop(worker)
        cause = lost[0] if lost else None
        self._deaths[cause] += 1
        if self._deaths[cause] >= MOST_DEATHS:
            place = "before they were ready" if cause is None else f"in item {shown(cause.what)}"
            raise WorkerError(
                f"workers: must live until their work is done, got {MOST_DEATHS} that died "
                f"{place}, the last with {how}. What is left cannot be done so. If memory ran out, "
                "use fewer workers or a smaller --memory; or go on without --workers."
            )
        waiting.extendleft(reversed(lost))
        self._started.discard(worker)
        self._ready.discard(worker)
        self._start(worker)

    def _stop(self) -> None:
        self._started.clear()
        self._are_same = False
        self._ready.clear()
        self._has.clear()
        self._crew.stop()


def require_same(own: Mapping[str, str], other: Mapping[str, str], worker: int) -> None:
    """Refuse a worker whose numbers would be of other work, or computed otherwise.

    Raises:
        WorkerError: saying in what it differs.
    """
    found = differences(own, other)
    if found:
        said = "; ".join(found).replace(" there", " here").replace(" now", " in the worker")
        raise WorkerError(
            f"worker {worker}: must have the packages, weights and prompts of this process, got "
            f"{said}. Its numbers would be of something else. Install the same versions "
            "everywhere, and name a model and a task that are the same everywhere."
        )


def prepare(maker: Maker, number: int) -> tuple[Prepared | None, Message]:
    """Return a worker, in its own process, and what it says; None if it cannot be one."""
    try:
        prepared = maker(number)
    except Exception as error:  # of a model or a task: who started it raises it
        return None, ("failed", portable(error))
    return prepared, ("ready", dict(prepared.identity))


def answer(prepared: Prepared, item: Item) -> Message:
    """Return what a worker says to an item."""
    try:
        return "done", list(prepared.compute(item))
    except Exception as error:
        return "failed", portable(error)


def event(worker: int, message: Message, sent: list[Item]) -> Event:
    """Return what a worker said. `sent` are its items, of which one that is done goes."""
    match message:
        case "ready", dict() as identity:
            return Ready(worker, identity)
        case "done", list() as numbers:
            return Done(worker, sent.pop(0), numbers)
        case "failed", BaseException() as error:
            return Failed(worker, error, sent[0] if sent else None)
    raise AssertionError(message)


def portable(error: BaseException) -> BaseException:
    """Return an error as it is where it can be pickled and read back; else one that says the same.

    `WorkerError` stands for the latter.
    """
    try:
        pickle.dumps(copy(error))  # copied as it is read back
    except Exception:  # whatever a stranger's error raises when it is copied
        return WorkerError(
            "worker: every item must be computed without error, got "
            f"{shown(Verbatim(error_text(error)))}. The work cannot be done whole. Try without "
            "--workers, which says more."
        )
    return error
