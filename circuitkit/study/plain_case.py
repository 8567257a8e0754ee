"""The case of a circuit without what only a verdict needs: to choose by, or to run circuits on."""

from circuitkit.circuits.circuit import Circuit
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from circuitkit.validation.bench import Bench
from circuitkit.validation.case import Case


def plain_case(
    subject: Subject, circuit: Circuit, settings: Settings, bench: Bench | None = None
) -> Case:
    """Return the case of a circuit on the subject's pairs; it cannot be found again."""
    return Case(
        model=subject.model,
        circuit=circuit,
        metric=subject.metric,
        validation=subject.splits.validation,
        discovery=subject.splits.discovery,
        ablations=subject.ablations,
        ablation=settings.ablation,
        seed=settings.seed,
        memory=settings.memory,
        bench=bench or Bench(),
    )
