"""What `foretell` does: predictions first and on file, then outcomes, then how they agree."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.circuits.random_circuits import random_of_profile
from circuitkit.cli.actions.requests import model_named, subject_of_file
from circuitkit.cli.foretell import Done
from circuitkit.cli.options import CircuitGround, Machine, Shown
from circuitkit.cli.terminal import OUT, bars, filled, show_json, show_table
from circuitkit.control.foretelling.calibration import Calibration, calibrate, require_enough
from circuitkit.control.foretelling.foretell import (
    Foretold,
    Ground,
    foretell,
    measure_outcomes,
)
from circuitkit.control.foretelling.interventions import Intervention, default_interventions
from circuitkit.control.foretelling.reading import read_interventions
from circuitkit.control.foretelling.record import PICTURE, write_foretold, write_outcomes
from circuitkit.interventions.ablation import require_ablation
from circuitkit.model import SubjectModel
from circuitkit.prompts.file import discovery_pairs
from circuitkit.prompts.formats.read import dealt, read_prompts
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.reporting.figures import foretold_svg
from circuitkit.study.difference import unseen_pairs
from circuitkit.study.records import circuit_file_of
from circuitkit.study.settings import installed_versions
from circuitkit.study.subject import Subject
from circuitkit.work.directories import require_replaceable
from circuitkit.work.files import write_whole


def foretell_file(
    path: Path,
    asked: Done,
    ground: CircuitGround,
    machine: Machine,
    shown: Shown,
    output: Path,
) -> None:
    """Foretell, measure, write and show."""
    require_ablation(ground.ablation)
    path = circuit_file_of(path)
    circuit = load_circuit(path)
    require_replaceable(output)
    subject = subject_of_file(circuit, path, ground, machine)
    done = require_enough(_interventions(asked.interventions, circuit, subject, machine))
    on = Ground(
        subject.model,
        unseen_pairs(subject, circuit, circuit),
        subject.metric,
        subject.ablations[ground.ablation],
        machine.budget,
    )
    controls = [random_of_profile(circuit, seed) for seed in range(asked.n_random)]
    with bars(shown=shown.has_bars) as stage:
        foretold = foretell(on, circuit, done, controls, stage("Foretelling"))
        output.mkdir(parents=True, exist_ok=True)
        written = write_foretold(output, foretold, _about(path, subject, on))
        outcomes = measure_outcomes(on, done, stage("Measuring"))
    found = calibrate(foretold, outcomes)
    facts = write_outcomes(output, written, foretold, outcomes, found)
    title = f"{subject.task} in {subject.model.name}: foretold by {circuit.n_edges} edges"
    write_whole(output / PICTURE, foretold_svg(foretold, outcomes, found, title))
    if shown.as_json:
        show_json(facts)
    else:
        _show(foretold, found, output)


def _interventions(
    file: Path | None, circuit: Circuit, subject: Subject, machine: Machine
) -> tuple[Intervention, ...]:
    if file is None:
        return default_interventions(circuit, subject.seed)

    def load(name: str) -> SubjectModel:
        return model_named(name, machine, str(subject.model.dtype).removeprefix("torch."))

    def read(prompts: Path) -> PromptPairs:
        found = read_prompts(prompts, "")
        lines = dealt(found, seed=subject.seed, n=len(subject.splits.validation), n_validation=0)
        model = subject.model
        pairs = discovery_pairs(lines, model.tokenizer, bos=subject.request.bos)
        model.require_vocabulary(pairs)
        return pairs

    return read_interventions(file, load, read)


def _about(path: Path, subject: Subject, on: Ground) -> dict[str, Any]:
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": subject.command,
        "circuit": str(path),
        "task": subject.task,
        "model": subject.model.name,
        "model_digest": subject.model.digest,
        "metric": subject.metric.name,
        "ablation": on.ablation.name,
        "pairs": len(on.pairs),
        "pairs_digest": on.pairs.digest,
        "versions": installed_versions(),
    }


def _show(foretold: Foretold, found: Calibration, output: Path) -> None:
    show_table(
        "The largest surprises (shares of the gap that are lost)",
        ("intervention", "foretold", "outcome"),
        [(each.name, str(each.foretold), str(each.outcome)) for each in found.surprises],
    )
    show_table(
        "Rank correlation of what was foretold with what happened",
        ("interventions", "n", "correlation"),
        [
            (kind, str(sum(i.kind == kind for i in foretold.interventions)), f"{value:.3g}")
            for kind, value in found.by_kind.items()
        ],
    )
    best = f"; random circuits at most {max(found.random):.3g}" if found.random else ""
    OUT.print(
        filled(
            f"All {found.n}: rank correlation {found.correlation} (shuffled as well in a share of "
            f"{found.p:.2g}{best}). Slope {found.slope:.3g}, mean error {found.error:.3g} of the "
            f"gap, where foretelling nothing errs by {found.error_of_none:.3g}. Of "
            f"{found.n_signs} outcomes beyond zero the sign of {found.n_right} was foretold."
        )
    )
    OUT.print(str(output), soft_wrap=True)
