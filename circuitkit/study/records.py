"""RunRecord: everything a report shows, as plain data that is saved to and loaded from a directory.

    circuit.json     the circuit, in MIB's format
    scores.parquet   one row an edge: edge, sender, receiver, score, in_circuit
    validation.json  schema, thresholds, then baseline, samples, faithfulness, curve, verdict
    patching.json    exact effects, one heat map a site
    interpretation.json  what was found out about its parts: schema, then cards, groups, prompts;
                     only where `circuitkit interpret` was run
    run.toml         what was run, with which versions, and what to type to get it again

Reports are made from these files alone.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cattrs
import pyarrow
import pyarrow.parquet
import tomli_w

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit, save_circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import CircuitFileError
from circuitkit.interpretation.findings import Interpretation
from circuitkit.validation.baseline import Baseline
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.curve import Curve
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.verdict import Verdict
from circuitkit.work.files import write_whole
from circuitkit.work.notebook import Drawn

SCHEMA = 2  # of validation.json; 1 had three checks and no criteria
INTERPRETATION_SCHEMA = 1
INTERPRETATION_FILE = "interpretation.json"
RUN_FILE = "run.toml"
CIRCUIT_FILE = "circuit.json"


@dataclass(frozen=True)
class RunInfo:
    """What was run. `n_edges_selected` counts edges before dead ends were removed."""

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
class HeatMap(Drawn):
    """Mean exact effects of one patching sweep, with 95 % intervals; [row][column].

    Positive supports the behaviour. `gap` is what patching everything amounts to.
    """

    site: str
    description: str
    direction: str
    unit: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]
    gap: float


@dataclass(frozen=True)
class Validation:
    """Everything that judges the circuit, measured on held-out pairs."""

    thresholds: Thresholds
    baseline: Baseline
    samples: tuple[Sample, ...]
    faithfulness: tuple[Faithfulness, ...]
    curve: Curve
    verdict: Verdict


@dataclass(frozen=True)
class Judgement:
    """What `circuitkit validate` says of one circuit: the thresholds, then what was measured."""

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


@dataclass(frozen=True)
class RunRecord:
    """Everything that a report shows."""

    info: RunInfo
    circuit: Circuit
    validation: Validation
    heat_maps: tuple[HeatMap, ...]
    interpretation: Interpretation | None = None  # none was made

    @property
    def graph(self) -> ComponentGraph:
        """The graph the circuit is a part of."""
        return self.circuit.graph


def save_record(record: RunRecord, directory: str | Path) -> None:
    """Write the record's files to `directory`, each whole or not at all.

    An interpretation that is there already goes if the record has none: it is of another circuit.

    Raises:
        OutputError: the directory cannot be written.
    """
    directory = Path(directory)
    save_circuit(record.circuit, directory / CIRCUIT_FILE)
    write_whole(directory / "scores.parquet", _scores_table(record.circuit))
    write_whole(directory / "validation.json", _versioned(record.validation, SCHEMA))
    write_whole(directory / "patching.json", to_json(record.heat_maps))
    write_whole(directory / RUN_FILE, tomli_w.dumps(cattrs.unstructure(record.info)))
    if record.interpretation is not None:
        save_interpretation(record.interpretation, directory)
    else:
        (directory / INTERPRETATION_FILE).unlink(missing_ok=True)


def load_record(directory: str | Path, *, interpreted: bool = True) -> RunRecord:
    """Return the record saved in `directory`, without its interpretation if that is not wanted.

    Raises:
        CircuitFileError: a file is missing or damaged.
    """
    directory = Path(directory)
    circuit = load_circuit(directory / CIRCUIT_FILE)
    try:
        info = cattrs.structure(tomllib.loads((directory / RUN_FILE).read_text()), RunInfo)
        return RunRecord(
            info,
            circuit,
            _read_versioned(directory / "validation.json", Validation),
            from_json((directory / "patching.json").read_text(), tuple[HeatMap, ...]),
            _interpretation_of(info, directory) if interpreted else None,
        )
    except CircuitFileError:
        raise
    except (OSError, TypeError, ValueError, cattrs.BaseValidationError) as error:
        raise CircuitFileError(
            f"run directory {str(directory)!r}: must hold the files that `circuitkit run` writes, "
            f"got {type(error).__name__}: {error}. The report cannot be made. Run it again."
        ) from error


def circuit_file_of(path: Path) -> Path:
    """Return the circuit file of a run directory; a path that is none is a circuit file itself."""
    return path / CIRCUIT_FILE if path.is_dir() else path


def save_interpretation(interpretation: Interpretation, directory: str | Path) -> None:
    """Write an interpretation into a run directory, whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    data = {"schema": INTERPRETATION_SCHEMA, **cattrs.unstructure(interpretation)}
    # a number a line would double what is mostly matrices
    text = json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"
    write_whole(Path(directory) / INTERPRETATION_FILE, text)


def load_interpretation(directory: str | Path) -> Interpretation | None:
    """Return the interpretation in a run directory; None where none was made.

    Raises:
        CircuitFileError: it is of another schema, or damaged.
    """
    path = Path(directory) / INTERPRETATION_FILE
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if isinstance(data, dict) and data.get("schema") != INTERPRETATION_SCHEMA:
        raise CircuitFileError(
            f"interpretation file {str(path)!r}: must be of schema {INTERPRETATION_SCHEMA}, got "
            f"schema {data.get('schema')!r}. Its cards would be misread. Run `circuitkit "
            "interpret` again."
        )
    try:
        return cattrs.structure(data, Interpretation)
    except (TypeError, ValueError, cattrs.BaseValidationError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CircuitFileError:
    return CircuitFileError(
        f"interpretation file {str(path)!r}: must be what `circuitkit interpret` writes, got "
        f"{type(error).__name__}: {error}. There is nothing to show. Run `circuitkit interpret` "
        "again."
    )


def _interpretation_of(info: RunInfo, directory: Path) -> Interpretation | None:
    found = load_interpretation(directory)
    if found is not None and found.model_digest != info.model_digest:
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
    data = json.loads(path.read_text())
    if isinstance(data, dict) and data.get("schema") != SCHEMA:
        raise CircuitFileError(
            f"validation file {str(path)!r}: must be of schema {SCHEMA}, got schema "
            f"{data.get('schema', 1)}. Its criteria are not those of this version. Run it again."
        )
    return cattrs.structure(data, kind)


def to_json(data: Any) -> str:
    """Return plain data (dataclasses, tuples, numbers, text) as readable JSON."""
    return json.dumps(cattrs.unstructure(data), indent=1, allow_nan=False) + "\n"


def from_json(text: str, kind: Any) -> Any:
    """Return the data of `to_json` as the type it came from, which may be `tuple[X, ...]`."""
    return cattrs.structure(json.loads(text), kind)


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
