"""How something is studied: the settings, and what they ask of a method."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from circuitkit.discovery.method import Method
from circuitkit.discovery.methods import DEFAULT, method_named
from circuitkit.interventions.work import Work
from circuitkit.names import AUTO
from circuitkit.study.subject import Subject
from circuitkit.validation.criteria import Thresholds
from circuitkit.work.executors.items import IN_PROCESS, Executor
from circuitkit.work.progress import Progress, silent

PACKAGES = ("circuitkit-mi", "torch", "transformer-lens", "transformers")

Stage = Callable[[str], Progress]


@dataclass(frozen=True)
class Settings:
    """What to do, and how much of it.

    `n_edges` 0 means the method's own circuit, or else the smallest that is faithful enough. Method
    `auto` stands for what choices.py chooses, within `budget` seconds (0: as the device is).
    `criteria` are those to judge by; () means all.
    """

    seed: int = 0
    method: str = DEFAULT
    method_settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    scoring_ablation: str = "resample"
    n_edges: int = 0
    threshold: float = 0.0  # 0: none
    selection: str = "top"  # or greedy
    ablation: str = "mean"
    signed: bool = False
    minimal: bool = False  # drop the edges that are not needed
    budget: float = 0.0  # of method auto
    n_random: int = 5  # at each size of the curve
    memory: int | None = None
    batch_size: int | None = None
    anyway: bool = False
    checkpoint: Path | None = None  # where a long search keeps what is done
    thresholds: Thresholds = field(default_factory=Thresholds)
    criteria: tuple[str, ...] = ()
    workers: str = ""  # that share the work, as work/executors/asked.py says; empty: none
    columns: str = ""  # at which edges live, `roles` or `positions`; empty: at all positions

    @classmethod
    def by_default(cls, ablation: str = "mean", **given: Any) -> "Settings":
        """Return the settings of a run in which nothing is said of how: choices.py chooses."""
        chosen = {"method": AUTO, "scoring_ablation": ablation, "minimal": True}
        return cls(**{**chosen, "ablation": ablation, **given})

    @property
    def is_automatic(self) -> bool:
        """Whether the method, and what goes with it, is still to be chosen."""
        return self.method == AUTO

    @property
    def ranks_signed(self) -> bool:
        """Whether edges rank by signed score: as asked, or as the method does."""
        return self.signed or method_of(self).ranks_signed


def work_of(
    subject: Subject,
    settings: Settings,
    progress: Progress = silent,
    executor: Executor = IN_PROCESS,
) -> Work:
    """Return how the settings want scoring to be done."""
    return Work(
        subject.ablations[settings.scoring_ablation],
        settings.batch_size,
        settings.memory,
        progress,
        settings.seed,
        settings.checkpoint,
        executor,
    )


def method_of(settings: Settings) -> Method:
    """Return the method that the settings name.

    Raises:
        MethodError: there is none, or it has no such setting.
    """
    return method_named(settings.method, settings.method_settings)


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
