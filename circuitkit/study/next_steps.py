"""What would settle a verdict that is not "supported", and the command that does it.

Each rule looks at the checks that are not met and offers one step: more pairs where an interval
holds its bound, more edges where something is missing, fewer where something is idle, another
ablation or method where the circuit does as well by it. The most telling come first.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.statistics.power import pairs_to_decide
from circuitkit.study.records import RunRecord
from circuitkit.validation.criteria import CRITERIA
from circuitkit.validation.verdict import REFUTED, SUPPORTED, UNDECIDED, Check

MOST = 3  # steps
MOST_PAIRS = 5_000  # that are worth asking for
WHOLE = ("faithfulness", "wang-faithfulness", "equivalence", "hold-out", "fresh-draw")
ROUND_TO = 50  # pairs
PLACE = ("-o", "--output", "--name")  # options that name the run directory
OF_A_METHOD = ("--set", "--budget")  # options that go with the method that was typed


@dataclass(frozen=True)
class Step:
    """What to do next, as a sentence, and what to type for it; "" where no command does it."""

    says: str
    command: str = ""


KEEP = Step(
    "Nothing is open. Name the circuit in a contract, and CI says when it stops being true "
    "(docs/contracts.md)."
)


@dataclass(frozen=True)
class _Open:
    """A run and its checks that are not met."""

    record: RunRecord
    checks: Sequence[Check]

    def find(self, names: Sequence[str], outcome: str) -> Check | None:
        """Return the first of some checks with an outcome."""
        return next((c for c in self.checks if c.criterion in names and c.outcome == outcome), None)

    @property
    def has_columns(self) -> bool:
        """Whether the edges of the circuit live at columns."""
        return isinstance(self.record.graph, ColumnGraph)

    @property
    def typed_task(self) -> str:
        """What to type for the task; "" where the pairs are those of a prompt file."""
        pairs = self.record.info.recipe.pairs
        return "" if pairs.prompts else pairs.task or self.record.info.task

    def typed(self, *changes: tuple[str, str]) -> str:
        """Return the command of the run with other options."""
        return with_options(self.record.info.command, *changes)


def next_steps(record: RunRecord) -> tuple[Step, ...]:
    """Return what would settle the verdict, the most telling first; how to keep a supported one."""
    if record.validation.verdict.outcome == SUPPORTED:
        return (KEEP,)
    checks = record.validation.verdict.checks
    unmet = [check for check in checks if check.is_judged and check.outcome != SUPPORTED]
    steps = [step for rule in RULES for step in rule(_Open(record, unmet))]
    return tuple(dict.fromkeys(steps))[:MOST]


def with_options(command: str, *changes: tuple[str, str]) -> str:
    """Return a command with options set; `value` "" is a flag. "" for no `run`.

    What names the directory goes, so that the run that is there stays; with another method, so does
    what only the old one takes.
    """
    words = shlex.split(command)
    if words[:2] != ["circuitkit", "run"] or any(word.endswith(".toml") for word in words):
        return ""
    gone = [*PLACE, *(OF_A_METHOD if "--method" in dict(changes) else ())]
    for name, value in (*changes, *((name, "any") for name in gone)):
        while name in words:
            at = words.index(name)
            del words[at : at + (2 if value else 1)]
        words = [word for word in words if not word.startswith(f"{name}=")]
    added = [word for change in changes for word in change if word]
    return shlex.join([*words, *added])


def _unable(run: _Open) -> Iterator[Step]:
    for name in ("ability", "ability-share"):
        if run.find([name], REFUTED):
            task = run.typed_task
            yield Step(
                "The model does not do the task well enough for a circuit of it to mean much: "
                "try another model.",
                f"circuitkit models --task {shlex.quote(task)}" if task else "",
            )
            return


def _too_few(run: _Open) -> Iterator[Step]:
    """Yield how many pairs decide what is undecided."""
    wanted, n = 0, run.record.info.n_clusters or run.record.info.n_validation
    for check in run.checks:
        if check.value is None:
            wanted = max(
                wanted, CRITERIA[check.criterion].least_pairs if "few" in check.note else 0
            )
        elif check.outcome == UNDECIDED and check.criterion == "minimality":
            wanted = max(wanted, 2 * n)  # an interval of counts says nothing of how many decide
        elif check.outcome == UNDECIDED:
            wanted = max(wanted, pairs_to_decide(check.value, check.bound) or 0)
    if not n or not n < wanted <= MOST_PAIRS:
        return
    info = run.record.info
    drawn = -(-wanted * info.n_validation // (n * ROUND_TO)) * ROUND_TO  # clusters to pairs
    asked = -(-drawn * info.n_discovery // info.n_validation) if info.n_validation else drawn
    open_ones = " and ".join(c.criterion for c in run.checks if c.outcome == UNDECIDED)
    more = f"More pairs: about {drawn:,} to judge by would decide {open_ones}."
    if run.typed_task:
        yield Step(more, run.typed(("--n", str(asked))))
    else:  # all lines of the file are used already
        yield Step(f"{more} Add prompts to the file.")


def _incomplete(run: _Open) -> Iterator[Step]:
    """Yield what finds edges that are missing."""
    missing = run.find(("completeness", *WHOLE), REFUTED) or run.find(("completeness",), UNDECIDED)
    if missing is None:
        return
    selection = run.record.circuit.provenance.recipe.selection
    more = min(2 * (selection.n_edges or selection.n_selected), run.record.graph.n_edges)
    what = (
        "what takes over when parts are knocked out"
        if missing.criterion == "completeness"
        else "part of the behaviour"
    )
    if more > selection.n_edges:
        yield Step(
            f"More edges: the circuit lacks {what}. Start from {more:,}.",
            run.typed(("--edges", str(more))),
        )


def _other_ablation(run: _Open) -> Iterator[Step]:
    """Yield the ablation under which the circuit does as well as it must."""
    if run.find(WHOLE, REFUTED) is None:
        return
    least = run.record.validation.thresholds.min_faithfulness
    for other in run.record.validation.faithfulness:
        if other.ablation != run.record.info.ablation and other.value.low >= least:
            yield Step(
                f"Another question: under {other.ablation} ablation these edges keep "
                f"{other.value.value:.0%}. Judge by that, if it is what you mean to ask.",
                run.typed(("--ablation", other.ablation)),
            )
            return


def _idle(run: _Open) -> Iterator[Step]:
    """Yield what drops edges that are not needed."""
    if not run.find(("minimality", "edge-share", "edges"), REFUTED) or run.has_columns:
        return  # trimming measures whole edges
    if run.record.circuit.provenance.recipe.selection.minimal:
        step = "Other scores: trimming found no smaller circuit that keeps as much."
        yield Step(step, run.typed(("--method", "exact"), ("--minimal", "")))
    else:
        yield Step("Fewer edges: drop those that are not needed.", run.typed(("--minimal", "")))


def _elsewhere(run: _Open) -> Iterator[Step]:
    if run.find(WHOLE[:1], REFUTED) is None and run.find(("hold-out", "fresh-draw"), REFUTED):
        yield Step(
            "More varied prompts to find it on: it fails on kinds that did not find it. Give the "
            "task more wordings or answers."
        )


def _other_scores(run: _Open) -> Iterator[Step]:
    if run.find(WHOLE[:1], REFUTED) and run.record.info.method != "exact":
        yield Step(
            "Other scores: edges ranked by their exact effect, where that is affordable.",
            run.typed(("--method", "exact"), *(() if run.has_columns else (("--minimal", ""),))),
        )


RULES: tuple[Callable[[_Open], Iterator[Step]], ...] = (
    _unable,
    _too_few,
    _incomplete,
    _other_ablation,
    _idle,
    _elsewhere,
    _other_scores,
)
