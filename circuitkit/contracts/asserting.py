"""`assert_faithful`: a circuit's claim as one line of one's own test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.contracts.cases import MOVED_TOKENIZER
from circuitkit.interventions.ablation import require_ablation
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPair
from circuitkit.statistics.bootstrap import Estimate, Values
from circuitkit.statistics.bound import Bound
from circuitkit.study.cases import case_of, require_same_tokenizer
from circuitkit.study.request import Overrides, request_for
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, metric_of, subject_of_task
from circuitkit.study.units import as_units
from circuitkit.task import Task, find_task
from circuitkit.validation.case import Case
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.verdict import SUPPORTED, Check
from circuitkit.zoo import load_model

FAITHFULNESS = "faithfulness"
N_SHOWN = 5


@dataclass(frozen=True)
class WorstPair:
    """A pair of which the circuit keeps little: its metric, the model's, and the share kept."""

    pair: PromptPair
    share: float
    circuit: float
    model: float


def assert_faithful(
    circuit: str | Path | Circuit,
    task: str | Task,
    model: str | SubjectModel,
    *,
    min: float,
    ablation: str = "mean",
    n: int = 100,
    seed: int | None = None,
    metric: str = "",
) -> Estimate:
    """Return the faithfulness of a circuit if its whole 95 % interval is at least `min`.

    It is judged on `n` pairs that did not find it. `seed` and `metric` default to the circuit's
    own. An interval that holds `min` is a failure too: the claim is not shown.

    Raises:
        AssertionError: it is not, or could not be judged; the message shows the worst prompts.
        CircuitkitError: the circuit, the task and the model do not belong together.
    """
    found = circuit if isinstance(circuit, Circuit) else load_circuit(circuit)
    behaviour = task if isinstance(task, Task) else find_task(task)
    require_ablation(ablation, "assert_faithful: ablation")
    subject_model = model if isinstance(model, SubjectModel) else load_model(model)
    require_same_tokenizer(found, subject_model, "assert_faithful", MOVED_TOKENIZER)
    asked = Overrides(task=behaviour.name, metric=metric, n=n, seed=seed)
    request = request_for(found, asked, "assert_faithful")
    if found.graph.units and not subject_model.graph.units:
        recipe = found.provenance.recipe.units
        subject_model = as_units(subject_model, found.graph.units, recipe)
    case = _case(found, behaviour, subject_model, request, ablation)
    thresholds = Thresholds().with_bounds({FAITHFULNESS: Bound(min=min)})
    check = judge_circuit(case, thresholds, only=[FAITHFULNESS]).check(FAITHFULNESS)
    if check.outcome != SUPPORTED or check.value is None:
        raise AssertionError(_failure(check, case))
    return check.value


def worst_pairs(
    pairs: Sequence[PromptPair], values: Values, full: Values, empty: Values, n: int = N_SHOWN
) -> list[WorstPair]:
    """Return the pairs of which the circuit keeps the smallest share, given each one's metrics.

    A pair's share is (circuit - empty) / (model - empty). Pairs whose own gap vanishes, or has the
    opposite sign to the mean gap, have none and are left out.
    """
    gap = full - empty
    rows: list[int] = np.flatnonzero(gap * gap.mean() > 0).tolist()
    kept = values - empty
    found = [
        WorstPair(pairs[i], float(kept[i] / gap[i]), float(values[i]), float(full[i])) for i in rows
    ]
    return sorted(found, key=lambda worst: worst.share)[:n]


def _case(
    circuit: Circuit, task: Task, model: SubjectModel, request: Request, ablation: str
) -> Case:
    subject = subject_of_task(task, metric_of(task, request.metric), model, request)
    return case_of(subject, circuit, Settings(seed=request.seed, ablation=ablation))


def _failure(check: Check, case: Case) -> str:
    if check.value is None:
        return f"faithfulness must be {check.rule}, and could not be judged: {check.note}"
    [values] = case.values([case.circuit])
    lines = [
        f"faithfulness must be {check.rule}, got {check.value}, n = {check.value.n} "
        f"(the whole 95 % interval must lie inside; {check.outcome}). {check.note}",
        f"Pairs of which the circuit keeps least ({case.metric.name}, in {case.metric.unit}):",
        *(
            f"  {worst.share:.0%} kept: circuit {worst.circuit:.3g}, model {worst.model:.3g}: "
            f"{_quoted(case.model, worst.pair)}"
            for worst in worst_pairs(case.validation.pairs, values, *case.ends())
        ),
    ]
    return "\n".join(lines)


def _quoted(model: SubjectModel, pair: PromptPair) -> str:
    readable = isinstance(pair.clean, str) or model.tokenizer is not None
    return repr(model.text_of(pair.clean)) if readable else model.text_of(pair.clean)
