"""The criteria by name, and the thresholds they are held against.

Thresholds are fixed before anything is measured: the defaults below, or a TOML file,

    faithfulness = { min = 0.85 }
    completeness = { max = 0.3 }
    minimality = false              # reported, not judged

in which a criterion that is not named keeps its default, as do min and max where alpha alone is
given.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from circuitkit import names
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import CriterionError
from circuitkit.statistics.bound import Bound
from circuitkit.validation.criterion import Criterion
from circuitkit.work.reading import UnreadableError, parse_toml, read_text_file
from circuitkit.work.text import error_text, shown

ROUNDING = 1e-9  # of a share times a number of edges

# In the order in which a verdict is read.
CRITERIA: dict[str, Criterion] = {
    name: resolve_name(place)() for name, place in names.CRITERIA.items()
}


def default_bounds() -> dict[str, Bound]:
    """Return the default bound of every criterion."""
    return {name: criterion.default for name, criterion in CRITERIA.items()}


@dataclass(frozen=True)
class Thresholds:
    """The bound of every criterion. Fixed before anything is measured."""

    bounds: Mapping[str, Bound] = field(default_factory=default_bounds)

    def __repr__(self) -> str:  # other thresholds have another one: names of files rest on it
        default = default_bounds()
        changed = [f"{name}={b}" for name, b in self.bounds.items() if default.get(name) != b]
        changed += [f"without {name}" for name in default if name not in self.bounds]
        return f"Thresholds({', '.join(['defaults', *changed])})"

    def with_bounds(self, bounds: Mapping[str, Bound]) -> "Thresholds":
        """Return the same thresholds with other bounds for some criteria."""
        return Thresholds({**self.bounds, **bounds})

    @property
    def min_faithfulness(self) -> float:
        """The least faithfulness; 0 where none is asked."""
        return self.bounds["faithfulness"].min or 0.0

    def most_edges(self, graph: ComponentGraph) -> int:
        """Return the most edges that a circuit of a graph may have; all where nothing is asked."""
        largest = CRITERIA["edge-share"].bound_on(graph, self.bounds["edge-share"]).max
        return graph.n_edges if largest is None else int(largest * graph.n_edges + ROUNDING)


def read_thresholds(path: Path) -> Thresholds:
    """Return the thresholds of a TOML file.

    Raises:
        CriterionError: the file cannot be read, or does not hold bounds of known criteria.
    """
    where = f"thresholds {shown(str(path))}"
    try:
        data = parse_toml(read_text_file(path))
    except (FileNotFoundError, UnreadableError) as error:
        raise CriterionError(
            f"{where}: must be a TOML file, got {error_text(error)}. It says what a circuit must "
            "reach. See docs/validation.md for an example."
        ) from error
    return Thresholds().with_bounds(parse_bounds(data, where))


def parse_bounds(data: Mapping[str, Any], where: str) -> dict[str, Bound]:
    """Return the bound of each criterion named: a table of min, max and alpha, or false.

    Raises:
        CriterionError: an unknown criterion or key, a bound that is not a number, or one that no
            value meets.
    """
    return {name: _bound(name, value, where) for name, value in data.items()}


def _bound(name: str, value: Any, where: str) -> Bound:
    if name not in CRITERIA:
        raise CriterionError(
            f"{where}: criteria must be among {', '.join(CRITERIA)}, got {shown(name)}. It would "
            "not be judged. Correct the name."
        )
    if value is False:
        return Bound()
    known = [each.name for each in fields(Bound)]
    if not isinstance(value, Mapping) or not value or set(value) - set(known):
        raise CriterionError(
            f"{where}: {name} must be false or a table of {', '.join(known)}, got {shown(value)}. "
            f"It says what is enough. Write it as {name} = {{ min = 0.8 }}."
        )
    for key, number in value.items():
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not (is_number and abs(number) <= sys.float_info.max):
            raise CriterionError(
                f"{where}: {name}.{key} must be a number, got {shown(number)}. A value is held "
                f"against it. Write it as {name} = {{ {key} = 0.8 }}."
            )
    bound = Bound(**{key: float(number) for key, number in value.items()})
    if bound.is_open:  # a level alone
        bound = replace(CRITERIA[name].default, alpha=bound.alpha)
    return _possible(bound, name, where)


def _possible(bound: Bound, name: str, where: str) -> Bound:
    if not 0 < bound.alpha < 1:
        raise CriterionError(
            f"{where}: {name}.alpha must lie between 0 and 1, got {bound.alpha:g}. It is the level "
            f"of a test. Write it as {name} = {{ alpha = 0.05 }}."
        )
    if bound.is_open:
        raise CriterionError(
            f"{where}: {name} must have a min or a max, got alpha alone. Its default has none, so "
            f"nothing would be judged. Write it as {name} = {{ min = 0.8, alpha = 0.05 }}."
        )
    if bound.min is not None and bound.max is not None and bound.min > bound.max:
        raise CriterionError(
            f"{where}: {name}.min must not be above its max, got {bound.min:g} and {bound.max:g}. "
            "No value lies between. Exchange them."
        )
    return bound
