"""The whole judgement of a hypothesis in a model: alignment, interchanges, controls, verdict."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from circuitkit.abstraction.alignment import Alignment, alignment_of, require_aligned
from circuitkit.abstraction.exchange import Exchanger, Subspace
from circuitkit.abstraction.hypothesis import Algorithm, Hypothesis, algorithm_of, own_alignment
from circuitkit.abstraction.interchanges import (
    Interchanges,
    answered_rightly,
    draw_interchanges,
)
from circuitkit.abstraction.judge import (
    Accuracy,
    Control,
    HypothesisResult,
    VariableResult,
    control_of,
    measure_iia,
)
from circuitkit.abstraction.reading import Readings, read_prompts_with
from circuitkit.abstraction.rotation import (
    Training,
    random_subspace,
    require_subspace,
    train_subspace,
)
from circuitkit.abstraction.search import (
    SITES,
    Grid,
    common_roles,
    grid_of,
    places_in,
    try_alignments,
)
from circuitkit.abstraction.untrained import untrained_like
from circuitkit.errors import HypothesisError, TooFewError
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.splits import Splits
from circuitkit.work.progress import Progress, silent


@dataclass(frozen=True)
class Plan:
    """How a hypothesis is judged.

    With `search`, places are looked for on the discovery prompts, at `sites`, and judged on the
    validation prompts. With a `subspace`, that many dimensions of each place are exchanged, found
    by a rotation that is trained on the discovery prompts for `steps`. `controls` may be left out:
    less is then shown, but it is fast. `wordings` are further prompts, in wordings that no search
    saw, on which it must hold too.
    """

    search: bool = False
    sites: tuple[str, ...] = SITES
    controls: bool = True
    subspace: int = 0
    steps: int = 100
    wordings: PromptPairs | None = None
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
    open. All numbers are of the validation prompts, and of the plan's `wordings`.

    Raises:
        HypothesisError: it gives a wrong answer on some prompt, a variable has no place, or one
            that does not exist, or there are too few prompts.
    """
    plan = plan or Plan()
    algorithm = algorithm_of(hypothesis)
    given = _given(algorithm, model.name, alignment, plan)
    judging = _Judging(model, algorithm, splits, plan)
    roles = judging.roles_known
    asked = {name: alignment_of(model, text, roles) for name, text in given.items()}
    results = []
    progress(0, len(algorithm.variables))
    for done, name in enumerate(algorithm.variables, start=1):
        results.append(judging.of_variable(name, asked.get(name)))
        progress(done, len(algorithm.variables))
    return HypothesisResult(
        hypothesis.name or type(hypothesis).__name__,
        hypothesis.description,
        model.name,
        hypothesis.task,
        len(splits.validation),
        len(judging.validation),
        tuple(results),
    )


def _given(
    algorithm: Algorithm, model: str, alignment: Mapping[str, str] | None, plan: Plan
) -> Mapping[str, str]:
    """Return the places that are given, of all variables if none is to be looked for."""
    hypothesis, variables = algorithm.hypothesis, algorithm.variables
    if not plan.search:
        own = own_alignment(hypothesis, model) if alignment is None else alignment
        return require_aligned(variables, own, hypothesis.name)
    found = alignment or {}
    require_aligned(variables, dict.fromkeys(variables, "searched") | dict(found), hypothesis.name)
    if plan.subspace and set(variables) - set(found):
        raise HypothesisError(
            f"hypothesis {hypothesis.name!r}: the place of a subspace must be given, got a search. "
            "To train a rotation at every place would take hours. Give places with --align, or "
            "leave --search out."
        )
    return found


class _Judging:
    """The prompts that a model answers rightly, and everything that is measured on them."""

    def __init__(
        self,
        model: SubjectModel,
        algorithm: Algorithm,
        splits: Splits,
        plan: Plan,
    ) -> None:
        self.model, self.algorithm, self.plan = model, algorithm, plan
        self.discovery = self._rightly(self._read(splits.discovery))
        self.validation = self._rightly(self._read(splits.validation))
        self.wordings = None if plan.wordings is None else self._read(plan.wordings)

    def _read(self, pairs: PromptPairs) -> Readings:
        return read_prompts_with(self.algorithm, self.model, pairs)

    def _rightly(self, readings: Readings) -> Readings:
        plain = Exchanger(self.model, readings.pairs, ())
        return answered_rightly(readings, plain.answers(readings.candidates))

    @cached_property
    def twin(self) -> SubjectModel:
        """An untrained model of the same architecture."""
        return untrained_like(self.model, seed=self.plan.seed)

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
        subspace = self._trained(self.model, name, alignment) if self.plan.subspace else None
        accuracy, interchanges, controls = self._measured(
            self.model, self.validation, name, alignment, subspace
        )
        if self.plan.controls and subspace is not None:
            controls += (self._random(name, alignment), self._untrained_subspace(name, alignment))
        elif self.plan.controls:
            controls += (*self._elsewhere(name, alignment), self._untrained(name))
        return VariableResult(
            name,
            str(alignment) + (f", {self.plan.subspace} dimensions" if subspace is not None else ""),
            accuracy,
            controls,
            interchanges.n_copies,
            "given" if given else "search",
            self._in_other_wordings(name, alignment, subspace),
        )

    def _measured(
        self,
        model: SubjectModel,
        readings: Readings,
        name: str,
        alignment: Alignment,
        subspace: Subspace | None = None,
    ) -> tuple[Accuracy, Interchanges, tuple[Control, ...]]:
        """Return the IIA at a place, the interchanges, and the controls that come with them."""
        exchanger = self._exchanger(model, readings, (alignment,))
        interchanges = draw_interchanges(readings, name, alignment.roles, seed=self.plan.seed)
        accuracy, controls = measure_iia(exchanger, interchanges, alignment, subspace)
        return accuracy, interchanges, controls

    def _in_other_wordings(
        self, name: str, alignment: Alignment, subspace: Subspace | None
    ) -> Accuracy | None:
        """Return the IIA in other wordings; None where there are too few."""
        if self.wordings is None:
            return None
        try:
            right = self._rightly(self.wordings)
            return self._measured(self.model, right, name, alignment, subspace)[0]
        except TooFewError:
            return None

    def _trained(self, model: SubjectModel, name: str, alignment: Alignment) -> Subspace:
        """Return the subspace that a rotation finds on the discovery prompts."""
        exchanger = self._exchanger(model, self.discovery, (alignment,))
        interchanges = draw_interchanges(self.discovery, name, alignment.roles, seed=self.plan.seed)
        training = Training(self.plan.subspace, self.plan.steps, seed=self.plan.seed)
        return train_subspace(exchanger, interchanges, alignment, training)

    def _random(self, name: str, alignment: Alignment) -> Control:
        exchanger = self._exchanger(self.model, self.validation, (alignment,))
        width = require_subspace(exchanger, alignment, self.plan.subspace)
        drawn = random_subspace(width, self.plan.subspace, self.plan.seed + 1)
        accuracy = self._measured(self.model, self.validation, name, alignment, drawn)[0]
        return control_of("random", accuracy, "a random subspace as large")

    def _untrained_subspace(self, name: str, alignment: Alignment) -> Control:
        subspace = self._trained(self.twin, name, alignment)
        accuracy = self._measured(self.twin, self.validation, name, alignment, subspace)[0]
        return control_of("untrained", accuracy, "the same training in random weights")

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

    def _elsewhere(self, name: str, own: Alignment) -> tuple[Control, ...]:
        """Return the median over the other places, and the best by name; none if there are none."""
        grid = self._grid(self.model, self.validation, name)
        both = zip(grid.alignments, grid.accuracies, strict=True)
        others = [(each, a) for each, a in both if str(each) != str(own)]
        if not others:
            return ()
        best, accuracy = max(others, key=lambda each: (each[1].weaker, each[1].iia.value))
        found = Control(
            "elsewhere",
            statistics.median(a.changes.value for _, a in others),
            statistics.median(a.weaker for _, a in others),
            f"the median of {len(others)} other places; the best is {best}, {accuracy.weaker:.2f}",
        )
        return (found,)

    def _untrained(self, name: str) -> Control:
        """Return what the same search finds in random weights, judged on other prompts."""
        best, _ = self._grid(self.twin, self.discovery, name).best
        accuracy = self._measured(self.twin, self.validation, name, best)[0]
        return control_of(
            "untrained", accuracy, f"the best of the same search in random weights, {best}"
        )
