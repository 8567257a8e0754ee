"""A role that was tried, before it is known what else was."""

from dataclasses import dataclass

from circuitkit.interpretation.findings import Role
from circuitkit.statistics.bootstrap import Estimate


@dataclass(frozen=True)
class RoleCandidate:
    """One role of one component. `p` is not corrected; `large` is whether it is large enough."""

    component: str
    name: str
    kind: str
    score: Estimate
    unit: str
    null: float
    p: float
    large: bool
    evidence: str

    def role(self, p: float, *, claimed: bool) -> Role:
        """Return the role, given its corrected p-value."""
        return Role(
            self.name, self.kind, self.score, self.unit, self.null, p, claimed, self.evidence
        )
