"""RunRecord: everything a report shows, as plain data that is saved to and loaded from a directory.

    circuit.json     the circuit, in MIB's format
    scores.parquet   one row an edge: edge, sender, receiver, score, in_circuit
    validation.json  schema, thresholds, then baseline, samples, faithfulness, curve, verdict
    patching.json    exact effects, one heat map a site
    interpretation.json  what was found out about its parts: interpretation/file.py;
                     only where `circuitkit interpret` was run
    run.toml         what was run, with which versions, and what to type to get it again

Reports are made from these files alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import cattrs
import pyarrow
import pyarrow.parquet

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import CIRCUIT_FILE, circuit_text, load_circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.recipe import Recipe, recipe_from_json, recipe_to_json
from circuitkit.errors import CircuitFileError
from circuitkit.interpretation.file import (
    INTERPRETATION_FILE,
    interpretation_text,
    load_interpretation,
)
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.section import HeatMap
from circuitkit.model.digests import may_agree
from circuitkit.study.run_directory import RUN_FILE, require_together, write_run
from circuitkit.validation.baseline import Baseline
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.curve import Curve
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.verdict import Verdict
from circuitkit.work.files import write_whole
from circuitkit.work.notebook import Shown
from circuitkit.work.reading import DAMAGED, parse_json, parse_toml, read_text_file
from circuitkit.work.text import brief, error_text, shown

SCHEMA = 2  # of validation.json; 1 had three checks and no criteria


@dataclass(frozen=True)
class RunInfo:
    """What was run. `n_edges_selected` counts edges before dead ends were removed.

    `n_repeats` pairs had the contents of another and were left out. The validation pairs are
    `n_clusters` independent ones, 0 where an earlier version did not count them. `choices` says in
    sentences what was chosen of how to find the circuit, and why. `identity` is that of
    run_place.py, empty where it was not asked for. `align` is the rule by which pairs of unequal
    length were aligned, empty where there is none.
    """

    task: str
    description: str
    model: str
    model_digest: str
    method: str
    ablation: str
    metric: str
    unit: str
    seed: int
    n_discovery: int
    n_validation: int
    n_reference: int
    n_dropped: int
    n_edges_selected: int
    command: str
    versions: Mapping[str, str]
    recipe: Recipe = field(default_factory=Recipe)
    n_repeats: int = 0
    n_clusters: int = 0
    choices: tuple[str, ...] = ()
    identity: str = ""
    align: str = ""


@dataclass(frozen=True)
class Sample:
    """One validation pair as a reader sees it. `top` is (token, probability), best first."""

    clean: str
    corrupted: str
    answers: tuple[str, ...]
    wrong_answers: tuple[str, ...]
    top: tuple[tuple[str, float], ...]
    metric: float


@dataclass(frozen=True)
class Validation:
    """Everything that judges the circuit, measured on held-out pairs."""

    thresholds: Thresholds
    baseline: Baseline
    samples: tuple[Sample, ...]
    faithfulness: tuple[Faithfulness, ...]
    curve: Curve
    verdict: Verdict

    def __repr__(self) -> str:
        return brief(f"Validation({self.verdict!r}, {self.baseline!r})")


@dataclass(frozen=True)
class Judgement:
    """What `circuitkit validate` says of one circuit: the thresholds, then what was measured.

    `n_pairs` validation pairs, in `n_clusters` independent ones, after `n_repeats` were left out.
    `align` is the rule by which those of unequal length were aligned, empty where there is none.
    """

    thresholds: Thresholds
    circuit: str
    task: str
    model: str
    model_digest: str
    ablation: str
    seed: int
    command: str
    versions: Mapping[str, str]
    verdict: Verdict
    n_pairs: int = 0
    n_repeats: int = 0
    n_clusters: int = 0
    align: str = ""


@dataclass(frozen=True)
class RunRecord(Shown):
    """Everything that a report shows."""

    info: RunInfo
    circuit: Circuit
    validation: Validation
    heat_maps: tuple[HeatMap, ...]
    interpretation: Interpretation | None = None  # none was made

    def __repr__(self) -> str:
        info, outcome = self.info, self.validation.verdict.outcome
        return brief(
            f"RunRecord({info.task} in {info.model}, {info.method}: {self.circuit!r}, {outcome})"
        )

    @property
    def graph(self) -> ComponentGraph:
        """The graph the circuit is a part of."""
        return self.circuit.graph


def save_record(
    record: RunRecord,
    directory: str | Path,
    *,
    drawn: Mapping[str, str | bytes] | None = None,
) -> None:
    """Write the record's files to `directory`, so that they are never a mixture of two runs.

    What an earlier run left there goes: its interpretation, reports and pictures too. `drawn` are
    reports and pictures of this record, by the name of their file.

    Raises:
        OutputError: the directory cannot be written.
    """
    data: dict[str, str | bytes] = {
        CIRCUIT_FILE: circuit_text(record.circuit),
        "scores.parquet": _scores_table(record.circuit),
        "validation.json": _versioned(record.validation, SCHEMA),
        "patching.json": to_json(record.heat_maps),
    }
    if record.interpretation is not None:
        data[INTERPRETATION_FILE] = interpretation_text(record.interpretation)
    info = _INFO.unstructure(record.info)
    write_run(Path(directory), data, info, optional=(INTERPRETATION_FILE,), drawn=drawn)


def load_record(directory: str | Path, *, interpreted: bool = True) -> RunRecord:
    """Return the record saved in `directory`, without its interpretation if that is not wanted.

    Raises:
        CircuitFileError: a file is missing or damaged.
    """
    directory = Path(directory)
    circuit = load_circuit(directory / CIRCUIT_FILE)
    try:
        info = load_run_info(directory / RUN_FILE)
        record = RunRecord(
            info,
            circuit,
            _read_versioned(directory / "validation.json", Validation),
            _read_heat_maps(directory / "patching.json"),
            _interpretation_of(info, directory) if interpreted else None,
        )
        require_together(directory, parse_toml(read_text_file(directory / RUN_FILE)))
        return record
    except CircuitFileError:
        raise
    except (*DAMAGED, cattrs.BaseValidationError) as error:
        raise CircuitFileError(
            f"run directory {shown(str(directory))}: must hold the files that `circuitkit run` "
            f"writes, got {error_text(error)}. The report cannot be made. Run it again."
        ) from error


def load_run_info(path: Path) -> RunInfo:
    """Return what a run.toml says was run; one without a recipe says that it is not known.

    Raises:
        OSError, TypeError, ValueError, cattrs.BaseValidationError: it is damaged.
    """
    return _INFO.structure(parse_toml(read_text_file(path)), RunInfo)


def load_run(path: Path) -> RunInfo:
    """Return what a run.toml says was run, if it says how to run it again.

    Raises:
        CircuitFileError: it cannot be read, or has no whole recipe.
    """
    try:
        info = load_run_info(path)
    except (*DAMAGED, cattrs.BaseValidationError) as error:
        raise CircuitFileError(
            f"run file {shown(str(path))}: must be a run.toml that `circuitkit run` wrote, got "
            f"{error_text(error)}. There is nothing to repeat. Check the path."
        ) from error
    if not info.recipe.is_known:
        raise CircuitFileError(
            f"run file {shown(str(path))}: must hold a whole recipe, got one of an earlier "
            "version. It does not say all that was set. Type what it says instead: "
            f"{shown(info.command)}"
        )
    return info


def _info_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(Recipe, lambda data, _: recipe_from_json(data))
    converter.register_unstructure_hook(Recipe, recipe_to_json)
    return converter


_INFO = _info_converter()


def circuit_file_of(path: Path) -> Path:
    """Return the circuit file of a run directory; a path that is none is a circuit file itself."""
    return path / CIRCUIT_FILE if path.is_dir() else path


def _interpretation_of(info: RunInfo, directory: Path) -> Interpretation | None:
    found = load_interpretation(directory)
    if found is not None and not may_agree(found.model_digest, info.model_digest):
        raise CircuitFileError(
            f"interpretation file {str(directory / INTERPRETATION_FILE)!r}: must be of the run's "
            f"weights, {info.model_digest}, got {found.model_digest}. It would speak of another "
            "model. Run `circuitkit interpret` again."
        )
    return found


def save_judgement(judgement: Judgement, path: Path) -> None:
    """Write a judgement, whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    write_whole(path, _versioned(judgement, SCHEMA))


def _versioned(data: Any, schema: int) -> str:
    return to_json({"schema": schema, **cattrs.unstructure(data)})


def _read_versioned(path: Path, kind: Any) -> Any:
    data = parse_json(read_text_file(path))
    if isinstance(data, dict) and data.get("schema") != SCHEMA:
        raise CircuitFileError(
            f"validation file {str(path)!r}: must be of schema {SCHEMA}, got schema "
            f"{data.get('schema', 1)}. Its criteria are not those of this version. Run it again."
        )
    return cattrs.structure(data, kind)


def _read_heat_maps(path: Path) -> tuple[HeatMap, ...]:
    """Return the heat maps of a file, which called name and whole `site` and `gap` until 0.1."""
    data = parse_json(read_text_file(path))
    old = {"site": "name", "gap": "whole"}
    maps = [
        {old.get(key, key): value for key, value in each.items()}
        if isinstance(each, dict)
        else each
        for each in data
    ]
    found: tuple[HeatMap, ...] = cattrs.structure(maps, tuple[HeatMap, ...])
    return found


def to_json(data: Any) -> str:
    """Return plain data (dataclasses, tuples, numbers, text) as readable JSON."""
    return json.dumps(cattrs.unstructure(data), indent=1, allow_nan=False) + "\n"


def from_json(text: str, kind: Any) -> Any:
    """Return the data of `to_json` as the type it came from, which may be `tuple[X, ...]`."""
    return cattrs.structure(parse_json(text), kind)


def _scores_table(circuit: Circuit) -> bytes:
    kept = set(circuit.edges)
    names = circuit.graph.edge_names
    ends = [name.split("->") for name in names]
    table = pyarrow.table(
        {
            "edge": list(names),
            "sender": [sender for sender, _ in ends],
            "receiver": [receiver for _, receiver in ends],
            "score": circuit.scores.by_edge().tolist(),
            "in_circuit": [name in kept for name in names],
        }
    )
    buffer = BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()
