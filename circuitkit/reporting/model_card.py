"""The README.md of a circuit on the Hugging Face Hub: what it is, how sure one is, how to load it.

All text is escaped as Markdown; the head is JSON, which YAML reads as it is.
"""

import json
import re
from pathlib import Path

from circuitkit.circuits.circuit import Circuit
from circuitkit.reporting.markdown import escaped
from circuitkit.reporting.values import TableText, marked
from circuitkit.study.records import RunRecord
from circuitkit.validation.verdict import Verdict
from circuitkit.work.hub import Address

TAGS = ("circuitkit", "circuit", "mechanistic-interpretability")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
UNJUDGED = "No verdict comes with this circuit: judge it before you build on it."


def model_card(circuit: Circuit, address: Address, record: RunRecord | None = None) -> str:
    """Return the card of a circuit, with the verdict and its checks where a run is known."""
    origin = circuit.provenance
    task, model = origin.task or "a behaviour", origin.model or "a model"
    blocks = [
        _head(origin.model),
        f"# Circuit of {escaped(task)} in {escaped(model)}",
        f"{circuit.n_edges:,} of {circuit.graph.n_edges:,} edges, {len(circuit.components)} "
        "components.",
        *_verdict(record, origin.verdict),
        "## Load it",
        _how_to_load(address),
        "The files are data: loading them runs none of their code. The model is not in here.",
        "## How it was found",
        _table(_provenance(circuit)),
    ]
    return "\n\n".join(blocks) + "\n"


def _head(model: str) -> str:
    head: dict[str, object] = {"library_name": "circuitkit", "tags": list(TAGS)}
    if HUB_NAME.fullmatch(model) and not Path(model).exists():
        head["base_model"] = model
    lines = [f"{name}: {json.dumps(value)}" for name, value in head.items()]
    return "\n".join(["---", *lines, "---"])


def _verdict(record: RunRecord | None, said: str) -> list[str]:
    if record is None:
        known = f"**{escaped(marked(said))}**, says its file; the checks are not in here."
        return ["## Verdict", known if said else UNJUDGED]
    verdict, info = record.validation.verdict, record.info
    measured = (
        f"Measured on {info.n_validation} held-out pairs under {info.ablation} ablation, metric "
        f"{info.metric} in {info.unit}."
    )
    return [
        "## Verdict",
        f"**{escaped(marked(verdict.outcome))}**",
        escaped(verdict.sentence),
        escaped(measured),
        _table(_checks(verdict)),
    ]


def _checks(verdict: Verdict) -> TableText:
    rows = tuple((c.criterion, c.got, c.rule, c.outcome) for c in verdict.checks if c.is_judged)
    return TableText(("criterion", "value [95 % interval]", "must be", "outcome"), rows)


def _provenance(circuit: Circuit) -> TableText:
    origin = circuit.provenance
    recipe = origin.recipe
    rows = (
        ("task", origin.task),
        ("model", origin.model),
        ("digest of its weights", origin.model_digest),
        ("method", recipe.method),
        ("scoring ablation", recipe.scoring_ablation),
        ("seed", str(recipe.seed)),
        ("versions", ", ".join(f"{name} {v}" for name, v in origin.versions.items())),
    )
    return TableText(("what", "is"), tuple(row for row in rows if row[1]))


def _how_to_load(address: Address) -> str:
    return (
        "```python\n"
        "import circuitkit as ck\n\n"
        f'circuit = ck.load_circuit("{address}")\n'
        "```\n\n"
        "```bash\n"
        f"circuitkit validate {address}\n"
        "```"
    )


def _table(table: TableText) -> str:
    lines = [table.headers, tuple("---" for _ in table.headers), *table.rows]
    texts = [[cell if cell == "---" else escaped(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)
