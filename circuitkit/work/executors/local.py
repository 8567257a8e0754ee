"""Workers on this machine: processes of their own, started anew and not forked.

A worker ends when the process that started it does, however that ends, and hears no Ctrl-C: the
other process hears it, and ends its workers.
"""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from circuitkit.work.executors.crew import Died, Event, answer, event, prepare
from circuitkit.work.executors.items import Item, Maker

SPAWN = multiprocessing.get_context("spawn")
PATIENCE = 5.0  # seconds for a process to end by itself


class LocalCrew:
    """Processes of this machine."""

    def __init__(self) -> None:
        self._workers: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._sent: dict[int, list[Item]] = {}

    def start(self, worker: int, maker: Maker) -> None:
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=_work, args=(there, worker), daemon=True)
        process.start()
        there.close()
        with suppress(OSError):  # it has died, which `events` says
            here.send(maker)  # read where errors are told and the end of this process is seen
        self._workers[worker] = process, here
        self._sent[worker] = []

    def send(self, worker: int, item: Item) -> None:
        self._sent[worker].append(item)
        with suppress(OSError):
            self._workers[worker][1].send(item)

    def events(self) -> list[Event]:
        everyone = [each for process, pipe in self._workers.values() for each in (process, pipe)]
        wait([e.sentinel if isinstance(e, SpawnProcess) else e for e in everyone])
        found: list[Event] = []
        for worker in list(self._workers):
            found += self._events_of(worker)
        return found

    def _events_of(self, worker: int) -> list[Event]:
        process, pipe = self._workers[worker]
        found: list[Event] = []
        try:
            while pipe.poll():
                found.append(event(worker, pipe.recv(), self._sent[worker]))
        except (OSError, EOFError):  # closed, perhaps within a message
            process.kill()
            process.join()
        if not process.is_alive():
            self._workers.pop(worker)
            pipe.close()
            found.append(Died(worker, f"exit code {process.exitcode}"))
        return found

    def stop(self) -> None:
        for process, _ in self._workers.values():
            process.terminate()
        for process, pipe in self._workers.values():
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()
        self._workers.clear()


def _work(pipe: Connection, number: int) -> None:
    """Be a worker: prepare, then compute what comes until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepared, message = prepare(lambda own: pipe.recv()(own), number)  # what cannot be read is told
    pipe.send(message)
    while prepared is not None:
        pipe.send(answer(prepared, pipe.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
