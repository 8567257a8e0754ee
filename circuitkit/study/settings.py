"""What is studied and how: the subject, the settings, and where a circuit comes from."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.discovery.method import Method
from circuitkit.discovery.methods import DEFAULT, method_named
from circuitkit.interventions.work import Work
from circuitkit.prompts.tokenization import tokenizer_digest
from circuitkit.study.subject import Subject
from circuitkit.validation.criteria import Thresholds
from circuitkit.work.progress import Progress, silent

PACKAGES = ("circuitkit-mi", "torch", "transformer-lens", "transformers")

Stage = Callable[[str], Progress]


@dataclass(frozen=True)
class Settings:
    """What to do, and how much of it.

    `n_edges` 0 means the method's own circuit, or else the smallest that is faithful enough.
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
    n_random: int = 5  # at each size of the curve
    memory: int | None = None
    batch_size: int | None = None
    anyway: bool = False
    checkpoint: Path | None = None  # where a long search keeps what is done
    thresholds: Thresholds = field(default_factory=Thresholds)
    criteria: tuple[str, ...] = ()

    @property
    def ranks_signed(self) -> bool:
        """Whether edges rank by signed score: as asked, or as the method does."""
        return self.signed or method_of(self).ranks_signed


def work_of(subject: Subject, settings: Settings, progress: Progress = silent) -> Work:
    """Return how the settings want scoring to be done."""
    return Work(
        subject.ablations[settings.scoring_ablation],
        settings.batch_size,
        settings.memory,
        progress,
        settings.seed,
        settings.checkpoint,
    )


def method_of(settings: Settings) -> Method:
    """Return the method that the settings name.

    Raises:
        MethodError: there is none, or it has no such setting.
    """
    return method_named(settings.method, settings.method_settings)


def with_provenance(
    circuit: Circuit, subject: Subject, settings: Settings, *, n_selected: int
) -> Circuit:
    """Return the circuit with where it comes from.

    `n_discovery` counts dropped pairs too: drawing that many again meets every pair that was seen.
    `n_selected` counts edges before dead ends were removed.
    """
    discovery = subject.splits.discovery
    origin = Provenance(
        task=subject.task,
        method=settings.method,
        model=subject.model.name,
        model_digest=subject.model.digest,
        tokenizer_digest=tokenizer_digest(subject.model.tokenizer),
        seed=settings.seed,
        settings={
            "n_discovery": len(discovery) + discovery.n_dropped,
            "metric": subject.metric.name,
            "ablation": settings.ablation,
            "signed": settings.ranks_signed,
            "selection": settings.selection,
            "threshold": settings.threshold,
            "n_edges": settings.n_edges,
            "minimal": settings.minimal,
            "n_selected": n_selected,
            "scoring_ablation": settings.scoring_ablation,
            **asdict(method_of(settings)),  # type: ignore[call-overload]
        },
        versions=installed_versions(),
        discovery_prompts=discovery.prompt_digests,
    )
    return replace(circuit, provenance=origin)


def settings_of(circuit: Circuit, settings: Settings) -> Settings:
    """Return the settings with which a circuit was found, else as `settings`.

    Raises:
        MethodError: the circuit names no method that is known here.
    """
    origin = circuit.provenance
    method = method_named(origin.method)
    own = {each.name for each in fields(method)}  # type: ignore[arg-type]
    said = dict(origin.settings)
    return replace(
        settings,
        seed=origin.seed,
        method=origin.method,
        method_settings={key: value for key, value in said.items() if key in own},
        scoring_ablation=str(said.get("scoring_ablation", settings.scoring_ablation)),
        ablation=str(said.get("ablation", settings.ablation)),
        selection=str(said.get("selection", "top")),
        signed=bool(said.get("signed", False)),
        threshold=float(said.get("threshold", 0.0)),
        minimal=bool(said.get("minimal", False)),
        n_edges=int(said.get("n_edges", 0)),
    )


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
