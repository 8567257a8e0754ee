"""How a piece of work is to be done, apart from what it computes."""

from dataclasses import dataclass
from pathlib import Path

from circuitkit.interventions.ablation import Ablation, ResampleAblation
from circuitkit.work.executors.items import IN_PROCESS, Executor
from circuitkit.work.progress import Progress, silent

RESAMPLE = ResampleAblation()


@dataclass(frozen=True)
class Work:
    """How scoring is to be done. Scores depend on `ablation` and `seed`, and on nothing else here.

    `seed` matters to methods that draw or train. `checkpoint` is a file to which long searches
    write what is done, and from which they resume; others ignore it. `executor` computes what
    divides into items (`Method.is_divisible`).
    """

    ablation: Ablation = RESAMPLE
    batch_size: int | None = None  # in pairs; None: what fits into `memory`
    memory: int | None = None  # in bytes; None: a share of what is free
    progress: Progress = silent
    seed: int = 0
    checkpoint: Path | None = None
    executor: Executor = IN_PROCESS
