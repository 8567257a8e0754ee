"""The workers of a study: each makes the same subject again, from the request that it came from."""

from dataclasses import dataclass, replace

import psutil
import torch

from circuitkit.discovery.search import prepared
from circuitkit.errors import MemoryBudgetError, WorkerError
from circuitkit.model import SubjectModel
from circuitkit.study.settings import Settings, method_of, work_of
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.work.executors.asked import asked_workers
from circuitkit.work.executors.crew import Workers
from circuitkit.work.executors.items import IN_PROCESS, Executor, Prepared
from circuitkit.work.executors.local import LocalCrew
from circuitkit.work.executors.on_ray import RayCrew


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
    on_gpu = subject.model.device.type == "cuda"
    how = replace(settings, workers="", checkpoint=None)
    if asked.is_ray:  # which gives every actor a processor, and shows it its own GPU alone
        _require_any_gpu(request.device)
        on_ray = RayCrew(asked, on_gpus=on_gpu)
        return Workers(on_ray, Remade(request, how, n_threads=1), on_ray.n)
    has_own_gpu = on_gpu and asked.n > 1
    if has_own_gpu:
        _require_gpus(asked.n, request.device)
    elif not on_gpu:
        require_memory(subject.model, asked.n, settings.memory, psutil.virtual_memory().available)
    n_threads = max(1, torch.get_num_threads() // asked.n)
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


def _require_any_gpu(device: str) -> None:
    """Refuse one GPU by its number, which is another on every machine.

    Raises:
        WorkerError: one is named.
    """
    if ":" in device:
        raise WorkerError(
            f"--workers ray: must go with --device cpu or cuda, got {device}. Ray gives every "
            "worker a GPU, or a share of one. Leave the number out."
        )


def require_memory(model: SubjectModel, n: int, memory: int | None, free: int) -> None:
    """Refuse more workers of this machine than have room for their weights, and for `memory` each.

    Raises:
        MemoryBudgetError: there is too little, with how many would do.
    """
    weights = {p.data_ptr(): p for p in model.bridge.original_model.parameters()}.values()
    each = sum(p.numel() * p.element_size() for p in weights) + (memory or 0)
    if n * each > free:
        raise MemoryBudgetError(
            f"--workers: every worker has the weights{' and --memory' if memory else ''} to "
            f"itself, got {n} of {each / 1e9:.3g} GB where {free / 1e9:.3g} GB are free. The work "
            f"cannot start. Ask for {max(1, free // each)} at most."
        )
