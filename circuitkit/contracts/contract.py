"""A contract: what is claimed of a circuit, and on what it is to be judged.

Each requirement holds one criterion against a bound; `drift` holds the circuit against another.
"""

from dataclasses import dataclass
from pathlib import Path

from circuitkit.statistics.bound import Bound

DRIFT = "drift"  # is judged beside the criteria, and named like one


@dataclass(frozen=True)
class Requirement:
    """The bound that a criterion must keep to, under an ablation of its own or the contract's."""

    criterion: str
    bound: Bound
    ablation: str = ""


@dataclass(frozen=True)
class Drift:
    """How much of a baseline circuit must be left: the Jaccard index of their edges."""

    baseline: Path
    min_jaccard: float


@dataclass(frozen=True)
class Contract:
    """What is claimed of a circuit file. Paths are as they can be opened from here.

    What is empty or None is as the circuit file says; `config` is the file of the contract.
    """

    config: Path
    name: str
    circuit: Path
    model: str = ""
    task: str = ""
    prompts: Path | None = None
    n: int = 100
    seed: int | None = None
    ablation: str = ""
    requirements: tuple[Requirement, ...] = ()
    drift: Drift | None = None

    @property
    def where(self) -> str:
        """The contract as messages name it."""
        return f"{self.config}, contract {self.name!r}"

    @property
    def criteria(self) -> tuple[str, ...]:
        """What is judged, by name."""
        names = tuple(each.criterion for each in self.requirements)
        return names if self.drift is None else (*names, DRIFT)

    def requirement(self, criterion: str) -> Requirement:
        """Return the requirement of a criterion that the contract names."""
        return next(each for each in self.requirements if each.criterion == criterion)
