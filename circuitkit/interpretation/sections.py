"""Every finding that a report shows as a section. A new one is a file, its test and a line here.

MEASURED is measured by `interpret`, in this order, each from a case to a Section; what cannot be
measured is left out, and a note says why. DERIVED is made of what an interpretation holds anyway.
"""

from collections.abc import Callable, Mapping

from circuitkit.interpretation import audit, groups
from circuitkit.interpretation.directions import search as directions
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.section import Section
from circuitkit.interpretation.sweeps import logit_lens, tracing
from circuitkit.validation.case import Case
from circuitkit.work.progress import Progress

MEASURED: Mapping[str, Callable[[Case, Progress], Section]] = {
    "Logit lens": logit_lens.measured,
    "Causal tracing": tracing.measured,
    "Directions": directions.measured,
}
DERIVED: tuple[Callable[[Interpretation], Section], ...] = (groups.section, audit.section)


def sections_of(found: Interpretation) -> tuple[Section, ...]:
    """Return everything that is shown of an interpretation as sections, none of them empty."""
    every = (*(section(found) for section in DERIVED), *found.sections)
    return tuple(s for s in every if s.sentences or s.tables or s.pictures or s.notes)
