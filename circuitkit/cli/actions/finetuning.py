"""What `finetuning` does: find the edges that carry a change, measure, draw, write and show it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.file import circuit_text
from circuitkit.circuits.random_circuits import random_of_profile
from circuitkit.circuits.recipe import Recipe
from circuitkit.cli.actions.requests import model_named, model_of, request_of
from circuitkit.cli.finetuning import Change, Tuned
from circuitkit.cli.options import Machine, Shown
from circuitkit.cli.terminal import OUT, bars, filled, show_json, show_table
from circuitkit.control.finetuning.change import (
    Tuning,
    TuningChange,
    circuit_of_change,
    measure_change,
    score_change,
)
from circuitkit.discovery.methods import method_named
from circuitkit.errors import MethodError
from circuitkit.reporting.dot import picture_dot
from circuitkit.reporting.render import render_dot
from circuitkit.study.records import to_json
from circuitkit.study.settings import installed_versions
from circuitkit.study.subject import Subject, subject_of
from circuitkit.work.directories import replace_directory, require_replaceable

N_RANDOM = 9
N_SHOWN = 12
RECORD, CIRCUIT, PICTURE = "finetuning.json", "circuit.json", "circuit.svg"


def find_change(what: Tuned, change: Change, machine: Machine, shown: Shown, output: Path) -> None:
    """Find and measure the edges that carry a change, write and show them."""
    if not what.model:
        raise MethodError(
            "--model: must name the fine-tuned model, got none. It is held against --base "
            f"{what.base}. Give its directory, or an --adapter of --model {what.base}."
        )
    method = method_named(change.method, {})
    require_replaceable(output)
    subject = subject_of(request_of(what, machine))
    base = model_named(what.base, machine)
    tuning = Tuning(subject.model, base, subject.metric, machine.budget)
    splits = subject.splits
    with bars(shown=shown.has_bars) as stage:
        scores = score_change(tuning, splits.discovery, method, stage("Scoring edges"))
        circuit = circuit_of_change(tuning, splits.discovery, scores, change.edges)
        circuit = replace(circuit, provenance=_origin(subject))
        controls = [random_of_profile(circuit, seed) for seed in range(N_RANDOM)]
        found = measure_change(tuning, splits.validation, circuit, controls, stage("Measuring"))
    facts = _facts(subject, what, change, found)
    _write(output, circuit, facts)
    if shown.as_json:
        show_json(facts)
    else:
        _show(found, what, output)


def _origin(subject: Subject) -> Provenance:
    """Return where the circuit comes from; it is no circuit of the task, and is not found again."""
    return Provenance(
        task=subject.task,
        model=subject.model.name,
        model_digest=subject.model.digest,
        recipe=Recipe(seed=subject.seed),
        versions=installed_versions(),
    )


def _facts(subject: Subject, what: Tuned, change: Change, found: TuningChange) -> dict[str, Any]:
    circuit = found.circuit
    scores = dict(zip(circuit.graph.edge_names, circuit.scores.by_edge().tolist(), strict=True))
    return {
        "command": subject.command,
        "task": subject.task,
        "tuned": {"model": model_of(what), "digest": subject.model.digest},
        "base": {"model": what.base},
        "method": change.method,
        "metric": found.metric,
        "unit": found.unit,
        "n_pairs": found.tuned.n,
        "means": {
            "base": asdict(found.base),
            "base, read by the tuned model": asdict(found.stream),
            "tuned": asdict(found.tuned),
            "change": asdict(found.change),
        },
        "carried": asdict(found.carried),
        "reverted": asdict(found.reverted),
        "carried by random edges": list(found.random_carried),
        "edges": {edge: scores[edge] for edge in circuit.edges},
        "components": {each.name: asdict(each.reverted) for each in found.components},
    }


def _write(output: Path, circuit: Circuit, facts: dict[str, Any]) -> None:
    picture = render_dot(picture_dot(circuit, "Edges that carry what fine-tuning changed"), "svg")
    files: dict[str, str | bytes] = {
        CIRCUIT: circuit_text(circuit),
        PICTURE: picture,
        RECORD: to_json(facts),
    }
    replace_directory(output, files, last=RECORD)


def _show(found: TuningChange, what: Tuned, output: Path) -> None:
    unit = found.unit
    show_table(
        f"What fine-tuning changed ({found.metric}, {unit})",
        ("model", "mean"),
        [
            (f"base ({what.base})", str(found.base)),
            ("base, read by the tuned model", str(found.stream)),
            (f"tuned ({what.model})", str(found.tuned)),
        ],
    )
    ranked = sorted(found.components, key=lambda each: -abs(each.reverted.value))
    show_table(
        "What taking back one component's writes takes back of the change",
        ("component", "share"),
        [(each.name, str(each.reverted)) for each in ranked[:N_SHOWN]],
    )
    circuit = found.circuit
    random = max(found.random_carried, default=0.0)
    OUT.print(
        filled(
            f"{circuit.n_edges} of {circuit.graph.n_edges} edges carry {found.carried} of the "
            f"change (random edges of the same layers at most {random:.3g}); taking those alone "
            f"back takes back {found.reverted} of it. The edges were scored on other prompts."
        )
    )
    OUT.print(str(output), soft_wrap=True)
