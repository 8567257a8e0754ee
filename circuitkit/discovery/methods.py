"""The discovery methods by name, all called alike (method.py states their contract)."""

from collections.abc import Mapping
from dataclasses import fields
from pkgutil import resolve_name
from typing import Any

from circuitkit import names
from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.eap import EAP
from circuitkit.discovery.method import Method
from circuitkit.errors import MethodError
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.text import shown

DEFAULT = names.DEFAULT_METHOD
MAX_STEPS = 1_000_000  # and other whole numbers
MAX_NUMBER = 1e300  # neither NaN nor infinity

# A setting is a field of the class.
METHODS: dict[str, type[Method]] = {
    name: resolve_name(place) for name, place in names.METHODS.items()
}


def method_named(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Return the method of this name, with settings given by name as text or values.

    Raises:
        MethodError: there is none of that name, it has no such setting, or a value is unusable.
    """
    if name not in METHODS:
        raise MethodError(
            f"method {name!r}: must be one of {', '.join(METHODS)}. It says how edges are scored. "
            "Choose one."
        )
    kind = METHODS[name]
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in (settings or {}).items():
        if key not in types:
            known = ", ".join(types) or "none"
            raise MethodError(
                f"method {name!r}: settings must be among its own ({known}), got {key!r}. It would "
                "be ignored. Leave it out, or see docs/methods/."
            )
        values[key] = _parsed(name, key, value, types[key])
    return kind(**values)


def _parsed(name: str, key: str, value: Any, kind: Any) -> Any:
    words = {"true": True, "false": False}
    found = value
    if isinstance(value, str) and kind is not str:
        try:
            found = words[value.lower()] if kind is bool else kind(value)
        except (ValueError, KeyError) as error:
            raise MethodError(
                f"method {name!r}: {key} must be of type {kind.__name__}, got {shown(value)}. It "
                "is a setting of the method. Write it as 0.01, 5 or true."
            ) from error
    limit = MAX_STEPS if isinstance(found, int) else MAX_NUMBER
    if isinstance(found, int | float) and not abs(found) <= limit:
        raise MethodError(
            f"method {name!r}: {key} must be a number from -{limit} to {limit}, got "
            f"{shown(found)}. The work would never end, or give no number. Choose a smaller one."
        )
    return found


def score_edges_by_column(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    columns: Columns,
    *,
    method: Method | None = None,
    work: Work | None = None,
) -> dict[str, EdgeScores]:
    """Return the scores of all edges for each column of positions or roles: what they carry there.

    `method` is one of `method_named` (default: EAP). Columns that hold every real token once
    between them add up to the score of the whole edge.

    Raises:
        MethodError: the method cannot tell positions apart, or cannot work on this.
        PromptError, MemoryBudgetError: as `Method.score_edges`.
    """
    scores = (method or EAP()).score_columns(model, pairs, metric, columns, work or Work())
    return dict(zip(columns.names, scores, strict=True))
