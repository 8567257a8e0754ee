"""What a circuit file may hold, checked before anything of its size is built.

A file may come from anywhere: by mail, from a hub, from another tool. Every part has its kind, the
edges are all those of the graph that `cfg` describes, and numbers are finite.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from circuitkit.circuits.units import FEATURE
from circuitkit.errors import CircuitFileError
from circuitkit.work.text import is_safe, shown

MAX_SIZE = 10**12
MAX_LAYERS = 10_000  # of a model with MLPs taken apart, whose edges are counted layer by layer
MAX_SEED = 2**53  # what every reader of JSON holds exactly
MAX_DEPTH = 5  # of tables in the origin
SIZES = ("n_layers", "n_heads", "d_model")
FLAGS = ("parallel_attn_mlp", "has_mlps")
PARTS: Mapping[str, tuple[str, ...]] = {  # the keys of each part; EAP-IG writes those of neurons
    "cfg": (*SIZES, *FLAGS, "mixers", "units"),
    "units": ("layer", "kind", "numbers", "read_alone", "dictionary"),
    "nodes": ("in_graph", "score", "neurons", "neurons_scores"),
    "edges": ("in_graph", "score"),
}


@dataclass(frozen=True)
class Rule:
    """What a value must be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _is_whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and is_safe(value)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= 1e300 and isfinite(value)


def _is_scalar(value: Any) -> bool:
    return _is_text(value) or isinstance(value, bool) or _is_number(value)


TEXT = Rule("text without control characters", _is_text)
TEXTS = Rule("a list of texts", lambda v: isinstance(v, list) and all(map(_is_text, v)))
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
NUMBER = Rule("a finite number", _is_number)
SCORE = Rule("a finite number or null", lambda value: value is None or _is_number(value))
SCALAR = Rule("text, a finite number, true or false", _is_scalar)
TABLE = Rule("an object", lambda value: isinstance(value, dict))
WHOLE = Rule(
    "absent or all true, as a circuit of single neurons would be read as one of whole components",
    lambda value: value is None or (isinstance(value, list) and all(v in (True, 1) for v in value)),
)
SIZE = Rule(f"a whole number from 1 to {MAX_SIZE}", _is_whole(1, MAX_SIZE))
COUNT = Rule(f"a whole number from 0 to {MAX_SIZE}", _is_whole(0, MAX_SIZE))
NUMBERS = Rule(
    f"a list of whole numbers from 0 to {MAX_SIZE}",
    lambda v: isinstance(v, list) and all(map(_is_whole(0, MAX_SIZE), v)),
)
SEED = Rule(f"a whole number from 0 to {MAX_SEED}", _is_whole(0, MAX_SEED))

ORIGIN: Mapping[str, Rule] = {
    **dict.fromkeys(("task", "method", "model", "model_digest", "verdict"), TEXT),
    "tokenizer_digest": TEXT,
    "discovery_prompts": TEXTS,
    **dict.fromkeys(("settings", "versions", "recipe", "columns"), TABLE),
}
KEYS = {*ORIGIN, "schema", "seed"}
SETTINGS: Mapping[str, Rule] = {
    "seed": SEED,
    "n_discovery": SIZE,  # how many of these a task may draw is asked where they are drawn
    **dict.fromkeys(("n", "n_validation", "n_edges", "n_selected"), COUNT),
    "threshold": NUMBER,
    **dict.fromkeys(("signed", "minimal"), FLAG),
    **dict.fromkeys(("metric", "ablation", "scoring_ablation"), TEXT),
}


def require(value: Any, rule: Rule, where: str) -> None:
    """Refuse a value that breaks its rule.

    Raises:
        CircuitFileError: it does.
    """
    if not rule.holds(value):
        raise CircuitFileError(
            f"{where} must be {rule.words}, got {shown(value)}. The circuit would be misread. "
            "Write the file again, or correct it."
        )


def require_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse a key that is not known.

    Raises:
        CircuitFileError: there is one.
    """
    unknown = sorted(table.keys() - set(known))
    if unknown:
        raise CircuitFileError(
            f"{where}: keys must be among {', '.join(known)}, got {shown(unknown)}. A "
            "misspelt one would be ignored. Correct it, or update circuitkit."
        )


def require_graph(data: Mapping[str, Any], where: str) -> None:
    """Refuse a `cfg` that is no size of a model, odd parts of nodes and edges, and missing edges.

    Nothing of the size that `cfg` says is built: 10^9 layers are refused for lack of their edges.

    Raises:
        CircuitFileError: there is one.
    """
    for key in ("cfg", "nodes", "edges"):
        require(data[key], TABLE, f"{where}: {key}")
    cfg = data["cfg"]
    require_graph_sizes(cfg, where)
    for kind in ("nodes", "edges"):
        for name, part in data[kind].items():
            at = f"{where}: {kind}[{shown(name)}]"
            require(part, TABLE, at)
            require_keys(part, PARTS[kind], at)
            require(part.get("in_graph"), FLAG, f"{at}.in_graph")
            if part["in_graph"]:
                require(part.get("neurons"), WHOLE, f"{at}.neurons")
            require(part.get("score"), SCORE, f"{at}.score")
    wanted = n_edges_of(cfg)
    if len(data["edges"]) < wanted:
        raise CircuitFileError(
            f"{where}: must hold all {shown(wanted)} edges of its cfg, got {len(data['edges'])}. "
            "The missing ones would count as left out. Write the file again."
        )


def require_graph_sizes(cfg: Mapping[str, Any], where: str) -> None:
    """Refuse a `cfg` that is no size of a model.

    Raises:
        CircuitFileError: it is none.
    """
    require_keys(cfg, PARTS["cfg"], f"{where}: cfg")
    for key in SIZES:
        require(cfg.get(key), SIZE, f"{where}: cfg.{key}")
    for key in FLAGS:
        require(cfg.get(key, True), FLAG, f"{where}: cfg.{key}")
    layers = Rule(
        f"a rising list of some layers below {cfg['n_layers']}",
        lambda value: _are_some_layers(value, cfg["n_layers"]),
    )
    require(cfg.get("mixers", []), layers, f"{where}: cfg.mixers")
    if "units" in cfg:
        _require_units(cfg, where)


def _require_units(cfg: Mapping[str, Any], where: str) -> None:
    at = f"{where}: cfg.units"
    few = Rule(f"of at most {MAX_LAYERS} layers", lambda n: n <= MAX_LAYERS)
    require(cfg["n_layers"], few, f"{where}: cfg.n_layers")
    require(cfg["units"], Rule("a list", lambda value: isinstance(value, list)), at)
    layer = Rule(f"a layer below {cfg['n_layers']}", _is_whole(0, cfg["n_layers"] - 1))
    for number, units in enumerate(cfg["units"]):
        own = f"{at}[{number}]"
        require(units, TABLE, own)
        require_keys(units, PARTS["units"], own)
        require(units.get("layer"), layer, f"{own}.layer")
        require(units.get("kind"), TEXT, f"{own}.kind")
        require(units.get("dictionary"), TEXT, f"{own}.dictionary")
        require(units.get("read_alone"), FLAG, f"{own}.read_alone")
        require(units.get("numbers"), NUMBERS, f"{own}.numbers")


def _are_some_layers(value: Any, n_layers: int) -> bool:
    is_list = isinstance(value, list) and all(type(x) is int for x in value)
    rises = is_list and value == sorted(set(value))
    return rises and (not value or (value[0] >= 0 and value[-1] < n_layers))


def n_edges_of(cfg: Mapping[str, Any]) -> int:
    """Return how many edges the graph of a `cfg` has, without building it.

    L layers of w = H heads and M (0 or 1) MLPs: every layer reads the input and w senders of each
    layer before it through 3H + M receivers, its MLP its own heads unless it is parallel to them,
    and the logits read all senders. A layer with a mixer has H = 1 and reads through 1 + M.
    """
    if cfg.get("units"):
        return _n_edges_with_units(cfg)
    layers, heads = cfg["n_layers"], cfg["n_heads"]
    mlps = int(cfg.get("has_mlps", True))
    own_heads = 0 if cfg.get("parallel_attn_mlp", False) else mlps * heads
    earlier = (heads + mlps) * layers * (layers - 1) // 2
    within = layers * own_heads + (3 * heads + mlps) * (layers + earlier)
    found = within + 1 + layers * (heads + mlps)
    own = mlps * (not cfg.get("parallel_attn_mlp", False))
    fewer_writers, fewer_readers = heads - 1, 3 * heads - 1
    for number, layer in enumerate(cfg.get("mixers", [])):
        after = (layers - 1 - layer) * (3 * heads + mlps)
        before = 1 + layer * (heads + mlps) - number * fewer_writers
        found -= fewer_writers * (own + after + 1) + fewer_readers * before
    return int(found)


def _n_edges_with_units(cfg: Mapping[str, Any]) -> int:
    """Return the same of a graph with MLPs taken apart, layer by layer."""
    units = {each["layer"]: each for each in cfg["units"]}
    mlps, found, writing = int(cfg.get("has_mlps", True)), 0, 1
    for layer in range(cfg["n_layers"]):
        is_mixer, own = layer in cfg.get("mixers", []), units.get(layer)
        heads = 1 if is_mixer else cfg["n_heads"]
        parts = mlps
        if own is not None:
            parts = len(own["numbers"]) + 1 + (own["kind"] == FEATURE)
        readers = parts if own is not None and own["read_alone"] else mlps
        read_by_mlp = writing + heads * (not cfg.get("parallel_attn_mlp", False))
        found += writing * heads * (1 if is_mixer else 3) + read_by_mlp * readers
        writing += heads + parts
    return found + writing


def require_origin(origin: Any, where: str) -> None:
    """Refuse a `circuitkit` key with a part that is of the wrong kind, or too large to work on.

    Raises:
        CircuitFileError: there is one.
    """
    where = f"{where}: circuitkit"
    require(origin, TABLE, where)
    require_keys(origin, sorted(KEYS), where)
    for key, rule in ORIGIN.items():
        if key in origin:
            require(origin[key], rule, f"{where}.{key}")
    rest = {key: value for key, value in origin.items() if key != "columns"}  # file_columns.py
    _require_settings(rest, where, MAX_DEPTH)


def _require_settings(table: Mapping[str, Any], where: str, depth: int) -> None:
    """Refuse a table that is nested deeper than `depth`, or has an odd value, at any level."""
    for key, value in table.items():
        at = f"{where}[{shown(key)}]"
        require(depth, Rule("nested less deeply", bool), at)
        if isinstance(value, dict):
            _require_settings(value, at, depth - 1)
        elif isinstance(value, list):
            require(value, TEXTS, at)
        else:
            require(value, SETTINGS.get(key, SCALAR), at)
