"""The workers of a study: each makes the same subject again, from the request that it came from."""

from dataclasses import dataclass, replace

import torch

from circuitkit.discovery.search import prepared
from circuitkit.errors import WorkerError
from circuitkit.study.settings import Settings, method_of, work_of
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.work.executors.asked import asked_workers
from circuitkit.work.executors.crew import Workers
from circuitkit.work.executors.items import IN_PROCESS, Executor, Prepared
from circuitkit.work.executors.local import LocalCrew


@dataclass(frozen=True)
class Remade:
    """Makes a subject again in a worker; on the GPU of its own number, where it says `cuda`."""

    request: Request
    settings: Settings
    n_threads: int
    has_own_gpu: bool = False

    def __call__(self, number: int) -> Prepared:
        """Return the worker, ready for the items of the method."""
        torch.set_num_threads(self.n_threads)
        device = f"cuda:{number}" if self.has_own_gpu else self.request.device
        subject = subject_of(replace(self.request, device=device))
        work = work_of(subject, self.settings)
        pairs, metric = subject.splits.discovery, subject.metric
        return prepared(method_of(self.settings), subject.model, pairs, metric, work)


def executor_of(subject: Subject, settings: Settings) -> Executor:
    """Return who scores edges: this process, or the workers that the settings ask for.

    Raises:
        WorkerError: no such workers, or a subject that does not say what it was made from.
        MethodError: the method's work does not divide.
    """
    asked = asked_workers(settings.workers)
    if asked is None:
        return IN_PROCESS
    request = _request_of(subject)
    method = method_of(settings)
    if not method.is_divisible:
        method.computing(  # which says so
            subject.model, subject.splits.discovery, subject.metric, work_of(subject, settings)
        )
    n_threads = max(1, torch.get_num_threads() // asked.n)
    has_own_gpu = asked.n > 1 and subject.model.device.type == "cuda"
    if has_own_gpu:
        _require_gpus(asked.n, request.device)
    how = replace(settings, workers="", checkpoint=None)
    return Workers(LocalCrew(), Remade(request, how, n_threads, has_own_gpu), asked.n)


def _request_of(subject: Subject) -> Request:
    """Return what makes the subject again, with the units that it has chosen.

    Raises:
        WorkerError: it was made of what is in memory here.
    """
    asked = subject.request
    if not asked.task and asked.prompts is None:
        raise WorkerError(
            f"workers: what is studied must come from a request, as subject_of makes it, got "
            f"task {subject.task!r} made of what is in memory. Workers make it again by the names "
            "of model and task. Use subject_of(Request(...)), or leave workers out."
        )
    units = subject.model.graph.units
    return replace(asked, apart=units) if units else asked


def _require_gpus(n: int, device: str) -> None:
    """Refuse more workers than GPUs, and one GPU for several.

    Raises:
        WorkerError: there are not so many.
    """
    there = torch.cuda.device_count()
    if n > there or (":" in device and n > 1):
        raise WorkerError(
            f"--workers: must be at most one for each GPU, got {n} with --device {device} where "
            f"there are {there}. Each has a model of its own on it. Ask for fewer, with --device "
            "cuda, or for --device cpu."
        )
