"""Interventions that a user writes down, in TOML or JSON.

    [[intervention]]
    ablate = ["a1.h1", "m2"]                    components whose writes are ablated

    [[intervention]]
    ablate_edges = ["a1.h1->a3.h0<k>"]

    [[intervention]]
    scale = "a1.h1"                             what it writes, times a factor
    factor = 0.5

    [[intervention]]
    model = "./edited"                          a model with other weights: edited, tuned, pruned

    [[intervention]]
    remove_direction = "./vector"               a saved direction, out of every weight that writes

    [[intervention]]
    add_direction = "./vector"                  the same, added at every position
    dose = 1.0

    [[intervention]]
    prompts = "paraphrases.jsonl"               other prompts, as a prompt file of pairs

Each may have a `name`; without one it is made of what is done.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitkit.control.change import Change
from circuitkit.control.foretelling.interventions import (
    ABLATION,
    PROMPTS,
    SCALING,
    STEERING,
    WEIGHTS,
    Intervention,
    Scaled,
)
from circuitkit.control.steering.vector import load_vector
from circuitkit.control.steering.weights import AddedEverywhere, Orthogonalised
from circuitkit.errors import GraphError, MethodError
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.text import one_line, shown

KEYS = {
    "ablate": ABLATION,
    "ablate_edges": ABLATION,
    "scale": SCALING,
    "model": WEIGHTS,
    "remove_direction": STEERING,
    "add_direction": STEERING,
    "prompts": PROMPTS,
}

SIZES = {"scale": "factor", "add_direction": "dose"}  # what must be said beside


@dataclass(frozen=True)
class OtherWeights:
    """The model of some name in place of the one that is studied."""

    source: str
    load: Callable[[str], SubjectModel]
    kind: str = WEIGHTS

    @property
    def name(self) -> str:
        """What it is called."""
        return f"weights of {self.source}"

    def made(self, model: SubjectModel) -> SubjectModel:
        """Return the other model.

        Raises:
            GraphError: it is of another architecture.
        """
        other = self.load(self.source)
        if other.graph != model.graph.whole:
            raise GraphError(
                f"intervention, {self.name}: must be of the architecture of model {model.name!r} "
                f"({model.graph}), got ({other.graph}). Its components are others. Give a model "
                "that differs in its weights alone."
            )
        return other


def read_interventions(
    path: Path, load: Callable[[str], SubjectModel], read: Callable[[Path], PromptPairs]
) -> tuple[Intervention, ...]:
    """Return the interventions of a file; paths in it are meant from where it is.

    `load` gives a model of a name or directory, `read` the pairs of a prompt file.

    Raises:
        MethodError: the file cannot be read, or an entry says nothing that is known.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        entries = data if isinstance(data, list) else data["intervention"]
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise TypeError("not a list of tables")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MethodError(
            f"--interventions {str(path)!r}: must be TOML with [[intervention]] tables, or a JSON "
            f"list, got {type(error).__name__}: {one_line(str(error))}. It says what is done. See "
            "docs/foretelling.md."
        ) from error
    return tuple(
        _intervention(entry, f"{str(path)!r}, intervention {number}", path.parent, load, read)
        for number, entry in enumerate(entries, 1)
    )


def _intervention(
    entry: Mapping[str, Any],
    where: str,
    home: Path,
    load: Callable[[str], SubjectModel],
    read: Callable[[Path], PromptPairs],
) -> Intervention:
    key = _key_of(entry, where)
    value, kind = entry[key], KEYS[key]
    name = str(entry.get("name", ""))
    if key in ("ablate", "ablate_edges"):
        parts = _texts(value, where, key)
        components, edges = (parts, ()) if key == "ablate" else ((), parts)
        return Intervention(name or f"without {', '.join(parts)}", kind, components, edges)
    if not isinstance(value, str):
        raise MethodError(
            f"{where}: {key} must be text, got {shown(value)}. It names one thing. Put it in "
            "quotes."
        )
    if key == "scale":
        scaled = Scaled(value, _number(entry, "factor", where))
        return Intervention(name or scaled.name, kind, change=scaled)
    if kind == STEERING:
        vector = load_vector(home / value)
        steered: Change = Orthogonalised(vector)
        if key == "add_direction":
            steered = AddedEverywhere(vector, _number(entry, "dose", where))
        return Intervention(name or steered.name, kind, change=steered)
    if key == "model":
        source = str(home / value) if (home / value).exists() else value
        return Intervention(name or f"weights of {value}", kind, change=OtherWeights(source, load))
    return Intervention(name or f"prompts of {value}", kind, pairs=read(home / value))


def _key_of(entry: Mapping[str, Any], where: str) -> str:
    """Return the key that says what is done, if there is one and all that goes with it."""
    unknown = sorted(set(entry) - {*KEYS, *SIZES.values(), "name"})
    done = [key for key in KEYS if key in entry]
    sizes = [key for key in SIZES.values() if key in entry]
    if unknown or len(done) != 1 or sizes != [SIZES[key] for key in done if key in SIZES]:
        got = f"the unknown key {shown(unknown[0])}" if unknown else f"{done or 'none'}"
        raise MethodError(
            f"{where}: must have one of {', '.join(KEYS)} (scale with a factor, add_direction with "
            f"a dose), and perhaps a name, got {got}. It says what is done. Correct the entry."
        )
    return done[0]


def _texts(value: Any, where: str, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise MethodError(
            f"{where}: {key} must be a list of names, got {shown(value)}. Each writes something. "
            'Write them as ["a1.h1", "m2"].'
        )
    return tuple(value)


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise MethodError(
            f"{where}: {key} must be a number, got {shown(value)}. It says how much is done. Write "
            f"{key} = 0.5."
        )
    return float(value)
