"""The whole judgement of a hypothesis in a model: alignment, interchanges, controls, verdict."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuitkit.abstraction.alignment import Alignment, alignment_of, require_aligned
from circuitkit.abstraction.exchange import Exchanger
from circuitkit.abstraction.hypothesis import Algorithm, Hypothesis, algorithm_of
from circuitkit.abstraction.interchanges import answered_rightly, draw_interchanges
from circuitkit.abstraction.judge import (
    Control,
    HypothesisResult,
    VariableResult,
    control_of,
    measure_iia,
)
from circuitkit.abstraction.reading import Readings, read_prompts_with
from circuitkit.abstraction.search import (
    SITES,
    Grid,
    common_roles,
    grid_of,
    places_in,
    try_alignments,
)
from circuitkit.abstraction.untrained import untrained_like
from circuitkit.model import SubjectModel
from circuitkit.prompts.splits import Splits
from circuitkit.work.progress import Progress, silent


@dataclass(frozen=True)
class Plan:
    """How a hypothesis is judged.

    With `search`, places are looked for on the discovery prompts, at `sites`, and judged on the
    validation prompts. `controls` may be left out: nothing is then proved, but it is fast.
    """

    search: bool = False
    sites: tuple[str, ...] = SITES
    controls: bool = True
    seed: int = 0


def judge_hypothesis(
    model: SubjectModel,
    hypothesis: Hypothesis,
    splits: Splits,
    *,
    alignment: Mapping[str, str] | None = None,
    plan: Plan | None = None,
    progress: Progress = silent,
) -> HypothesisResult:
    """Return what interchange interventions say of a hypothesis in a model.

    `alignment` says where variables are, instead of the hypothesis; a search finds what it leaves
    open. All numbers are of the validation prompts.

    Raises:
        HypothesisError: it gives a wrong answer on some prompt, a variable has no place, or one
            that does not exist, or there are too few prompts.
    """
    judging = _Judging(model, algorithm_of(hypothesis), splits, plan or Plan())
    given = dict(hypothesis.aligned(model.name) if alignment is None else alignment)
    variables = judging.algorithm.variables
    if judging.plan.search:
        require_aligned(variables, dict.fromkeys(variables, "searched") | given, hypothesis.name)
        given = dict(alignment or {})
    else:
        require_aligned(variables, given, hypothesis.name)
    asked = {name: alignment_of(model, text, judging.roles_known) for name, text in given.items()}
    results = []
    progress(0, len(variables))
    for done, name in enumerate(variables, start=1):
        results.append(judging.of_variable(name, asked.get(name)))
        progress(done, len(variables))
    return HypothesisResult(
        hypothesis.name or type(hypothesis).__name__,
        hypothesis.description,
        model.name,
        hypothesis.task,
        len(splits.validation),
        len(judging.validation),
        tuple(results),
    )


class _Judging:
    """The prompts that a model answers rightly, and everything that is measured on them."""

    def __init__(
        self, model: SubjectModel, algorithm: Algorithm, splits: Splits, plan: Plan
    ) -> None:
        self.model, self.algorithm, self.plan = model, algorithm, plan
        self.discovery = self._rightly(read_prompts_with(algorithm, model, splits.discovery))
        self.validation = self._rightly(read_prompts_with(algorithm, model, splits.validation))
        self.twin: SubjectModel | None = None

    def _rightly(self, readings: Readings) -> Readings:
        plain = Exchanger(self.model, readings.pairs, ())
        return answered_rightly(readings, plain.answers(readings.candidates))

    @property
    def roles_known(self) -> tuple[str, ...]:
        """Every role at which values can be exchanged, that of all tokens first."""
        return tuple(
            name
            for name in self.validation.spans[0]
            if all(name in spans for spans in self.validation.spans)
        )

    def of_variable(self, name: str, given: Alignment | None) -> VariableResult:
        """Return the IIA of a variable at its place, beside the controls."""
        alignment = given or self._grid(self.model, self.discovery, name).best[0]
        exchanger = self._exchanger(self.model, self.validation, (alignment,))
        interchanges = draw_interchanges(
            self.validation, name, alignment.roles, seed=self.plan.seed
        )
        accuracy, at_hand = measure_iia(exchanger, interchanges, alignment)
        controls = [*at_hand]
        if self.plan.controls:
            controls += [self._elsewhere(name, alignment), self._untrained(name)]
        found_by = "given" if given else "search"
        return VariableResult(
            name, str(alignment), accuracy, tuple(controls), interchanges.n_copies, found_by
        )

    def _exchanger(
        self, model: SubjectModel, readings: Readings, alignments: Sequence[Alignment]
    ) -> Exchanger:
        points = [place.point for place in places_in(alignments)]
        return Exchanger(model, readings.pairs, points)

    def _grid(self, model: SubjectModel, readings: Readings, name: str) -> Grid:
        roles = common_roles(readings)
        alignments = grid_of(model, roles, self.plan.sites)
        interchanges = draw_interchanges(readings, name, roles, seed=self.plan.seed)
        return try_alignments(
            self._exchanger(model, readings, alignments), interchanges, alignments
        )

    def _elsewhere(self, name: str, own: Alignment) -> Control:
        """Return the median over the other places, and the best of them by name."""
        grid = self._grid(self.model, self.validation, name)
        both = zip(grid.alignments, grid.accuracies, strict=True)
        others = [(each, a) for each, a in both if str(each) != str(own)]
        best, accuracy = max(others, key=lambda each: (each[1].weaker, each[1].iia.value))
        return Control(
            "elsewhere",
            statistics.median(a.changes.value for _, a in others),
            statistics.median(a.weaker for _, a in others),
            f"the median of {len(others)} other places; the best is {best}, {accuracy.weaker:.2f}",
        )

    def _untrained(self, name: str) -> Control:
        """Return what the same search finds in random weights, judged on other prompts."""
        if self.twin is None:
            self.twin = untrained_like(self.model, seed=self.plan.seed)
        best, _ = self._grid(self.twin, self.discovery, name).best
        exchanger = self._exchanger(self.twin, self.validation, (best,))
        interchanges = draw_interchanges(
            self.validation, name, common_roles(self.validation), seed=self.plan.seed
        )
        accuracy, _ = measure_iia(exchanger, interchanges, best)
        return control_of(
            "untrained", accuracy, f"the best of the same search in random weights, {best}"
        )
