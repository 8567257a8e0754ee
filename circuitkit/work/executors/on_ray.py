"""Workers on Ray, on one machine or on many: one actor each.

An actor has one processor, and its share of a GPU where the work is done on GPUs. Ray restarts
nothing by itself: crew.py does, so that what is counted there holds for every kind of worker.
"""

import socket
from importlib import import_module
from importlib.util import find_spec
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from circuitkit.errors import DependencyError, WorkerError
from circuitkit.work.executors.asked import AskedWorkers
from circuitkit.work.executors.crew import (
    Died,
    Event,
    Failed,
    Message,
    answer,
    event,
    portable,
    prepare,
)
from circuitkit.work.executors.items import Item, Maker, Prepared
from circuitkit.work.text import Verbatim, error_text, shown

PATIENCE = 5.0  # seconds for a cluster to answer at all


class _Actor:
    """A worker, in a process of Ray's."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._prepared: Prepared | None = None

    def prepare(self, maker: Maker) -> Message:
        self._prepared, message = prepare(maker, self._number)
        return message

    def answer(self, item: Item) -> Message:
        assert self._prepared is not None
        return answer(self._prepared, item)


class RayCrew:
    """Actors of a Ray cluster: of the one at an address, or of one that ends with the work.

    `n` is how many there is room for, or as many as were asked for.
    """

    def __init__(self, asked: AskedWorkers, *, on_gpus: bool) -> None:
        self._ray = _loaded()
        self._actors: dict[int, Any] = {}
        self._sent: dict[int, list[Item]] = {}
        self._pending: dict[Any, int] = {}  # what Ray owes, and by which worker
        self._is_own = not self._ray.is_initialized()
        if self._is_own:
            _connect(self._ray, asked)
        try:
            self.n, self._gpu = shares(self._ray.cluster_resources(), asked.n, on_gpus=on_gpus)
        except BaseException:
            self.stop()
            raise

    def start(self, worker: int, maker: Maker) -> None:
        kind = self._ray.remote(num_cpus=1, num_gpus=self._gpu, max_restarts=0)(_Actor)
        self._actors[worker], self._sent[worker] = kind.remote(worker), []
        self._pending[self._actors[worker].prepare.remote(maker)] = worker

    def send(self, worker: int, item: Item) -> None:
        self._sent[worker].append(item)
        self._pending[self._actors[worker].answer.remote(item)] = worker

    def events(self) -> list[Event]:
        # an actor answers in the order in which it is asked, so the first of its own comes first
        firsts: dict[int, Any] = {}
        for owed, worker in self._pending.items():
            firsts.setdefault(worker, owed)
        (come, *_), _ = self._ray.wait(list(firsts.values()))
        worker = self._pending.pop(come)
        try:
            return [event(worker, self._ray.get(come), self._sent[worker])]
        except self._ray.exceptions.RayActorError:
            self._pending = {owed: w for owed, w in self._pending.items() if w != worker}
            return [Died(worker, "its process gone")]
        except self._ray.exceptions.RayError as error:  # what cannot be read there, say
            sent = self._sent[worker]
            return [Failed(worker, portable(error), sent[0] if sent else None)]

    def stop(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor, no_restart=True)
        self._actors.clear()
        self._pending.clear()
        if self._is_own:
            self._ray.shutdown()


def _loaded() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        raise DependencyError(
            "--workers ray", "ray", "ray", "It runs workers on a cluster. Install it with"
        ) from error


def require_reachable(asked: AskedWorkers) -> None:
    """Refuse Ray where it is not installed, and a cluster at whose address nobody answers.

    Raises:
        DependencyError, WorkerError: so it is.
    """
    if not asked.is_ray:
        return
    if find_spec("ray") is None:
        _loaded()
    place = urlsplit(asked.address if "//" in asked.address else f"//{asked.address}")
    try:
        if place.port is not None:
            socket.create_connection((place.hostname or "", place.port), PATIENCE).close()
    except (OSError, ValueError) as error:
        raise _unreachable(asked, error) from error


def _connect(ray: Any, asked: AskedWorkers) -> None:
    """Connect to the cluster, or start one on this machine where no address is known.

    Raises:
        WorkerError: nobody answers there.
    """
    require_reachable(asked)
    try:
        ray.init(
            address=asked.address or None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError among them
        raise _unreachable(asked, error) from error


def _unreachable(asked: AskedWorkers, error: BaseException) -> WorkerError:
    return WorkerError(
        f"--workers: a Ray cluster must answer at {shown(asked.address or 'RAY_ADDRESS')}, got "
        f"{shown(Verbatim(error_text(error)))}. There is nobody to share the work with. Start one "
        "with `ray start --head`, mend the address, or use --workers ray for this machine."
    )


def shares(there: dict[str, float], n: int, *, on_gpus: bool) -> tuple[int, float]:
    """Return how many workers a cluster takes, and what share of a GPU each has.

    Raises:
        WorkerError: it has no processor, or no GPU, for so many.
    """
    n_cpus, n_gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    n = n or (n_gpus if on_gpus else n_cpus)
    if not 0 < n <= n_cpus or (on_gpus and not n_gpus):
        raise WorkerError(
            f"--workers: Ray must have a processor for each worker{' and a GPU' if on_gpus else ''}"
            f", got {n} workers where it has {n_cpus} processors and {n_gpus} GPUs. They would "
            "wait for ever. Ask for fewer, or add nodes."
        )
    return n, 1 / ceil(n / n_gpus) if on_gpus else 0.0
