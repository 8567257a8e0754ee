"""The recipe of a circuit: all that is needed to find it again.

    pairs --method, its settings, scoring ablation, seed--> scores --selection--> circuit

A method's settings and the selection stand apart, so that ACDC's `threshold` and the threshold of
the selection cannot be taken for each other. A file of schema 1 had both in one dictionary: what
it cannot say is named in `unknown`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cattrs
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.strategies import configure_union_passthrough

from circuitkit.work.text import one_line, shown

Setting = str | int | float | bool
LACKING_IN_SCHEMA_1 = ("dtype", "pairs.prompts", "pairs.n_validation", "pairs.bos")
THRESHOLD_OF_ITS_OWN = ("acdc",)  # methods whose setting took the place of the selection's
SELECTION_KEYS = ("n_edges", "threshold", "signed", "minimal", "n_selected")  # of schema 1


@dataclass(frozen=True)
class Selection:
    """Which of the scored edges are kept.

    `n_edges` 0 means the method's own circuit, or else the smallest that is faithful enough;
    `threshold` 0 means none. `n_selected` is how many were kept before dead ends and edges that
    are not needed went; `minimal` says whether the latter went.
    """

    rule: str = "top"  # or greedy
    n_edges: int = 0
    threshold: float = 0.0
    signed: bool = False
    minimal: bool = False
    n_selected: int = 0


@dataclass(frozen=True)
class PairsRecipe:
    """The pairs that found a circuit.

    `task` is a registered name or `file.py:Class`, or else `prompts` is a prompt file, all of it
    (`whole_file`) or its discovery lines. `n` counts pairs that were left out, as misaligned or as
    repeats, too: drawing that many again meets every pair that was seen. `n_validation` more were
    drawn behind them, on which the reference pairs depend. `prompt_format` says how the prompt file
    is read, empty where it is recognised. `digest` is that of the discovery
    pairs' tokens, and `task_digest` the SHA-256 of the task's file of Python, if it has one.
    `align` is the rule by which pairs of unequal length are aligned; the pairs themselves say it.
    """

    task: str = ""
    prompts: str = ""
    whole_file: bool = False
    n: int = 0
    n_validation: int = 0
    seed: int = 0
    metric: str = ""
    bos: str = "auto"
    digest: str = ""
    task_digest: str = ""
    align: str = ""
    prompt_format: str = ""


@dataclass(frozen=True)
class UnitsRecipe:
    """Into what MLPs were taken apart before edges were scored; an empty `kind`: into nothing.

    The `n` best by attribution on the discovery pairs have names of their own, the others of an MLP
    are one. `dictionaries` says where the dictionaries of features are.
    """

    kind: str = ""
    n: int = 0
    dictionaries: str = ""


@dataclass(frozen=True)
class Recipe:
    """How a circuit was found. An empty `method` means that this is not known.

    `ablation` is the one under which a size was chosen and edges were found not to be needed;
    `scoring_ablation` replaces values while the method scores. `columns` says at what its edges
    live, `roles` or `positions`; empty where they are at all positions.
    """

    method: str = ""
    method_settings: Mapping[str, Setting] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    scoring_ablation: str = "resample"
    ablation: str = "mean"
    seed: int = 0
    dtype: str = "float32"
    pairs: PairsRecipe = field(default_factory=PairsRecipe)
    units: UnitsRecipe = field(default_factory=UnitsRecipe)
    unknown: tuple[str, ...] = ()
    columns: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it says how the circuit was found, with nothing left out."""
        return bool(self.method) and not self.unknown


def recipe_from_json(data: Any) -> Recipe:
    """Return the recipe of plain data.

    Raises:
        ValueError: it is not one.
    """
    try:
        return _CONVERTER.structure(data, Recipe)
    except (ForbiddenExtraKeysError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"recipe: {one_line(str(error))}") from error


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain data."""
    data: dict[str, Any] = _CONVERTER.unstructure(recipe)
    # older readers do not know them; few pairs need them
    for key in ("task_digest", "align", "prompt_format"):
        if not data["pairs"][key]:
            del data["pairs"][key]
    if not recipe.units.kind:
        del data["units"]
    if not data["columns"]:
        del data["columns"]
    return {**data, "unknown": list(recipe.unknown)}


def recipe_of_schema_1(origin: Mapping[str, Any]) -> Recipe:
    """Return what a file of schema 1 says of how its circuit was found.

    Its one dictionary held the selection's and the method's settings. Where both have a name, only
    the method's value is left.

    Raises:
        ValueError: a value has the wrong type.
    """
    said = dict(origin.get("settings") or {})
    method = str(origin.get("method", ""))
    selection = {key: said.pop(key) for key in SELECTION_KEYS if key in said}
    selection["rule"] = said.pop("selection", "top")
    pairs = {
        "task": origin.get("task", ""),
        "n": said.pop("n_discovery", 0),
        "seed": origin.get("seed", 0),
        "metric": said.pop("metric", ""),
    }
    rest = {key: said.pop(key) for key in ("scoring_ablation", "ablation") if key in said}
    unknown = [*LACKING_IN_SCHEMA_1] if method else []
    if method in THRESHOLD_OF_ITS_OWN and "threshold" in selection:
        said["threshold"] = selection.pop("threshold")
        unknown.append("selection.threshold")
    data = {"method": method, "method_settings": said, "selection": selection, "pairs": pairs}
    return recipe_from_json({**data, **rest, "seed": origin.get("seed", 0), "unknown": unknown})


def _strict(kind: type) -> Any:
    def structure(value: Any, _: Any) -> Any:
        allowed = (int, float) if kind is float else (kind,)
        if isinstance(value, bool) is not (kind is bool) or not isinstance(value, allowed):
            raise TypeError(f"must be {kind.__name__}, got {shown(value)}")
        return kind(value)

    return structure


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _strict(kind))
    configure_union_passthrough(Setting, converter)
    return converter


_CONVERTER = _converter()
