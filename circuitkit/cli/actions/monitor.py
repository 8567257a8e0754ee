"""What `monitor` does: make a scorer of some topics, measure it on others, and write it."""

from pathlib import Path

import cattrs

from circuitkit.cli.actions.requests import model_for
from circuitkit.cli.monitor import Watched
from circuitkit.cli.options import Machine, Shown
from circuitkit.cli.terminal import OUT, show_json, show_table
from circuitkit.control.monitoring.scorer import Scorer, fit_scorer, save_scorer
from circuitkit.control.steering.classes import read_two_classes
from circuitkit.work.files import require_writable_directory


def make_scorer(
    prompts: Path, what: Watched, machine: Machine, shown: Shown, output: Path | None
) -> None:
    """Make, measure, write and show a scorer."""
    if output is not None:
        require_writable_directory(output)
    model = model_for(what, machine)
    found = read_two_classes(prompts, model, bos=what.bos)
    topics = [part.strip() for part in what.held_out.split(",") if part.strip()]
    layer = model.graph.n_layers // 2 if what.layer is None else what.layer
    scorer = fit_scorer(model, found, topics, layer, kind=what.kind, seed=what.seed)
    if output is not None:
        save_scorer(scorer, output)
    if shown.as_json:
        show_json(
            {
                "origin": scorer.vector.origin,
                "layer": scorer.layer,
                "threshold": scorer.threshold,
                "trained_on": scorer.trained_on,
                "held_out": scorer.held_out,
                "measured": cattrs.unstructure(scorer.measured),
            }
        )
        return
    _show(scorer, output)


def _show(scorer: Scorer, output: Path | None) -> None:
    measured = scorer.measured
    rows = [
        ("AUROC", str(measured.auroc)),
        ("recall at 1 % false alarms", str(measured.recall_at_1_percent)),
        (f"recall at the threshold {scorer.threshold:.4g}", str(measured.recall)),
        ("false alarms at the threshold", str(measured.alarms)),
        *((f"AUROC on {topic}", f"{value:.3g}") for topic, value in measured.by_topic.items()),
    ]
    title = f"{scorer.vector.origin}; held out: {', '.join(scorer.held_out)}"
    show_table(title, ("measure", "value"), rows)
    if output is not None:
        OUT.print(f"Written to {output}: scorer.json and scorer.safetensors.", soft_wrap=True)
