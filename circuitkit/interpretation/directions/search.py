"""Directions: is a concept encoded at a place, and does the model use what is encoded there?

    difference  d = mean(x of prompts with the concept) - mean(x of those without), discovery pairs
    ablated     (m(clean) - m(clean with x <- x - ((x - c) . u) u)) / gap,   u = d / |d|
    added       (m(corrupted with x <- x + d) - m(corrupted)) / gap
    gap         m(clean) - m(corrupted)

x is the activation at one hook point, at the last token of one role; c is the middle of the two
means, m the metric's gain on validation pairs. Shares are ratios of means over pairs with 95 %
intervals; all that follows x is computed anew. A direction that a linear reader needs and that says
everything gives 0.5 ablated (down to the middle) and 1 added. Arditi et al. 2024 (arXiv:2406.11717,
section 2.4), at one place instead of all.

What a probe reads off (probes.py) need not be used. "Used" is claimed where ablating or adding
makes up MIN_SHARE of the gap, has an interval above 0 and does more than each of N_RANDOM random
directions of the same length: two chances at 1 in 40 each, not corrected for the number of rows.
The random directions are drawn as d would be if the means were equal: from the spread of the
examples around them. Directions drawn from the whole space would be too easy to beat, as most of it
is never written. "Encoded" is claimed where a probe does better than chance, and than memorised
tokens would; what is used need not be told from memorised tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

import numpy as np
import torch
from jaxtyping import Float

from circuitkit.errors import GraphError, PromptError
from circuitkit.interpretation.directions.concepts import (
    CLEAN,
    Concept,
    activations_at,
    examples_of,
    labels_of,
    name_of,
    order_concepts,
)
from circuitkit.interpretation.directions.effects import (
    DirectionChange,
    direction_effects,
    require_recovery_gap,
)
from circuitkit.interpretation.directions.probes import Examples, probe, require_probes
from circuitkit.interpretation.experiment import Experiment
from circuitkit.interpretation.section import Column, Section, Table
from circuitkit.interventions.recorded import Direction
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.prompts.chat import ASSISTANT_PREFIX, INSTRUCTION_END
from circuitkit.prompts.pairs import END, PromptPairs
from circuitkit.statistics.bootstrap import Estimate, Values, estimate, ratio_of_means
from circuitkit.validation.case import Case
from circuitkit.work.progress import Progress, silent

N_RANDOM = 39
N_FIRST = 4  # random directions that are tried first
N_ORDERS = 1  # orders of roles that a report asks about: each costs as much as all else
MIN_SHARE = 0.01  # of the gap
NEGLIGIBLE = 1e-6  # of an activation's length: differences below are rounding
SITES = ("resid pre", "resid mid", "resid post", "attn out", "mlp out")  # as wide as the model

ENCODED_AND_USED = "encoded and used"
ENCODED_ONLY = "encoded, not shown to be used"
USED_ONLY = "used, not linearly encoded"
NEITHER = "neither shown"


@dataclass(frozen=True)
class DirectionRow:
    """Is a concept encoded at a place, and is it used there?

    `accuracy` of a linear probe on held-out pairs, `control` that of probes for labels that mean
    nothing; `ablated` and `added` are what the metric loses when the direction is taken out of
    clean runs, and gains when it is put into corrupted ones, as shares of the gap.
    """

    place: str
    position: str
    accuracy: Estimate
    control: Estimate
    cosine: float
    ablated: Estimate
    added: Estimate
    says: str
    by_token: float | None = None  # what a table of the tokens there gets right; None: not known

    @property
    def memorised(self) -> float:
        """The accuracy that memorised tokens explain: a table must know, and a probe can learn.

        Where few tokens stand at a place, the control is 1: a probe learns any label of theirs.
        That explains nothing if no label of theirs is the concept.
        """
        by_token = 1.0 if self.by_token is None else self.by_token
        return min(by_token, self.control.value)

    @property
    def differs(self) -> bool:
        """Whether there is any difference between prompts with the concept and those without."""
        return self.cosine != 0 or self.ablated.value != 0 or self.added.value != 0


@dataclass(frozen=True)
class Asked:
    """What is looked for, and where: by default `CLEAN`, at every role that all pairs have and the
    residual stream around every layer. `n_random` directions of the same length are the null.
    """

    roles: Sequence[str] = ()
    points: Sequence[Point] = ()
    concept: Concept = CLEAN
    n_random: int = N_RANDOM
    seed: int = 0


def measured(case: Case, progress: Progress = silent) -> Section:
    """Return which concepts a case's model encodes and uses, and where.

    Asked is what tells clean from corrupted prompts, and the order of roles where that varies.

    Raises:
        PromptError: too few pairs.
        VanishingGapError: the metric of clean and corrupted runs cannot be told apart.
    """
    experiment = Experiment(case.model, case.validation, case.metric, case.memory)
    orders = list(order_concepts((case.discovery, case.validation)).items())[:N_ORDERS]
    every = [Asked(seed=case.seed)]
    every += [Asked((*roles, END), concept=order, seed=case.seed) for roles, order in orders]
    found = {}
    for at, asked in enumerate(every):
        part = partial(_of_several, progress, at, len(every))
        rows = measure_directions(experiment, case.discovery, asked, part)
        found[asked.concept.name] = rows
    return section(found)


def _of_several(progress: Progress, at: int, n: int, done: int, total: int) -> None:
    progress(at * total + done, n * total)


def section(found: Mapping[str, Sequence[DirectionRow]]) -> Section:
    """Return the rows of each concept as a section: those that claim something are shown."""
    reading = (
        "A linear probe finds the concept: accuracy on held-out pairs, beside what memorised "
        "tokens get right; ablated and added are what taking the direction out loses and putting "
        "it in gains, as shares of the gap. What is there need not be used. Rows are not corrected "
        "for their number."
    )
    names = ("place", "position", "accuracy", "from tokens", "cosine", "ablated", "added", "says")
    numbers = ("from tokens", "cosine")
    columns = tuple(Column(name, "number" if name in numbers else "text") for name in names)
    tables = []
    for concept, rows in found.items():
        shown = [row for row in rows if row.says != NEITHER]
        fields = (name if name != "from tokens" else "memorised" for name in names)
        getters = [attrgetter(name) for name in fields]
        cells = tuple(tuple(get(row) for get in getters) for row in shown)
        tables += [Table(concept, columns, cells)] if cells else []
    sentences = tuple(_told(concept, rows) for concept, rows in found.items())
    return Section("directions", "Directions", reading, sentences, tuple(tables))


def _told(concept: str, rows: Sequence[DirectionRow]) -> str:
    """Return in one sentence where a concept was found and where not."""
    n_said = sum(row.says != NEITHER for row in rows)
    n_same = sum(not row.differs for row in rows)
    what = f"{concept[:1].upper()}{concept[1:]}"
    same = f", at {n_same} of which the prompts do not differ" if n_same else ""
    if n_said:
        return f"{what}: encoded or used at {n_said} of {len(rows)} places{same}."
    text = f"{what}: neither encoded nor used was shown at any of {len(rows)} places{same}."
    if concept == CLEAN.name:
        text += (
            " No single direction tells clean prompts from corrupted ones that are clean prompts "
            "of another answer."
        )
    return text


def measure_directions(
    experiment: Experiment,
    discovery: PromptPairs,
    asked: Asked | None = None,
    progress: Progress = silent,
) -> tuple[DirectionRow, ...]:
    """Return a row for each hook point and role: directions of `discovery` pairs, numbers of the
    experiment's.

    Raises:
        DependencyError: scikit-learn is not installed.
        PromptError: fewer than MIN_PAIRS pairs, a missing role, or missing labels of the metric.
        MethodError: the concept's labels are too few, too many or all alike.
        GraphError: a hook point that the model does not have, or that is of another width.
        VanishingGapError: the metric of clean and corrupted runs cannot be told apart.
        ActivationError: an activation is NaN or infinite.
        MemoryBudgetError: not even one run of one pair fits.
    """
    require_probes()
    asked = asked or Asked()
    places = _places(experiment, discovery, asked)
    changes = [place.change(kind) for place in places for kind in Direction]
    own, gap = _effects(experiment, changes, _part(progress, 0, 100))
    require_recovery_gap(gap, experiment.metric)
    shares = [estimate((effects[0], gap), ratio_of_means) for effects in own]
    used = _used(experiment, places, changes, shares, asked, progress)
    return tuple(
        place.row(shares[2 * i], shares[2 * i + 1], i in used, asked.seed)
        for i, place in enumerate(places)
    )


def _used(
    experiment: Experiment,
    places: Sequence["_Place"],
    changes: Sequence[DirectionChange],
    shares: Sequence[Estimate],
    asked: Asked,
    progress: Progress,
) -> set[int]:
    """Return the places where a change does more than each random direction does."""
    rng = np.random.default_rng(asked.seed)
    # where the effect may be none, no random direction need be tried
    tried = [i for i, share in enumerate(shares) if share.low > 0 and share.value >= MIN_SHARE]
    random = {i: places[i // 2].random(changes[i], asked.n_random, rng) for i in tried}
    # most are beaten by one of the first few, and need not be held against the others
    for few, part in ((slice(N_FIRST), (100, 300)), (slice(N_FIRST, None), (300, 1000))):
        if few.start and few.start >= asked.n_random:
            continue
        against = [replace(change, vectors=change.vectors[few]) for change in random.values()]
        null, gap = _effects(experiment, against, _part(progress, *part))
        best = [max(effects.mean(1) / gap.mean()) for effects in null]
        random = {i: random[i] for i, b in zip(random, best, strict=True) if shares[i].value > b}
    progress(1000, 1000)
    return {i // 2 for i in random}


def _effects(
    experiment: Experiment, changes: Sequence[DirectionChange], progress: Progress
) -> tuple[list[Float[np.ndarray, "direction pair"]], Values]:
    return direction_effects(
        experiment.model,
        experiment.pairs,
        experiment.metric,
        changes,
        memory=experiment.memory,
        progress=progress,
    )


def _places(experiment: Experiment, discovery: PromptPairs, asked: Asked) -> list["_Place"]:
    """Return every hook point and role that is asked about, with its examples of both splits."""
    model = experiment.model
    experiment.metric.check(experiment.pairs.labels)
    splits = {"discovery": discovery, "validation": experiment.pairs}
    labels = {name: labels_of(asked.concept, pairs, name) for name, pairs in splits.items()}
    roles = tuple(asked.roles) or _common_roles(splits)
    points = tuple(asked.points) or _residual_points(model)
    for name, pairs in splits.items():
        _require_roles(pairs, roles, name)
    for point in points:
        _require_point(model, point)
    seen, held_out = (
        [
            examples_of(activations, pairs, roles, labels[name], sides)
            for activations in activations_at(model, pairs, points, roles, experiment.memory)
        ]
        for (name, pairs), sides in zip(splits.items(), ("both", "one"), strict=True)
    )
    return [
        _Place(point, role, seen[i][j], held_out[i][j])
        for i, point in enumerate(points)
        for j, role in enumerate(roles)
    ]


def selectivity(row: DirectionRow) -> float:
    """Return how much better the probe is than probes for labels that mean nothing."""
    return row.accuracy.value - row.control.value


class _Place:
    """One hook point and role: its examples of both splits, and the direction between them."""

    def __init__(self, point: Point, role: str, training: Examples, held_out: Examples) -> None:
        self.point, self.role = point, role
        self.training, self.held_out = training, held_out
        x, labels = training.x, training.labels
        self.means = {side: x[labels == side].mean(0) for side in (True, False)}
        difference = self.means[True] - self.means[False]
        scale = NEGLIGIBLE * np.linalg.norm(self.means[True])
        is_rounding = bool(np.linalg.norm(difference) <= scale)
        self.difference = np.zeros_like(difference) if is_rounding else difference

    def change(self, kind: Direction) -> DirectionChange:
        """Return the direction as a change of one kind."""
        middle = torch.from_numpy((self.means[True] + self.means[False]) / 2)
        return DirectionChange(
            self.point, self.role, kind, torch.from_numpy(self.difference[None]), middle
        )

    def random(self, change: DirectionChange, n: int, rng: np.random.Generator) -> DirectionChange:
        """Return `n` random directions of the same length instead."""
        spread = self.training.spread
        drawn = rng.standard_normal((n, len(spread))) @ spread
        lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
        length = np.linalg.norm(self.difference)
        if not (lengths > NEGLIGIBLE * length).all():  # all examples of a kind are equal
            drawn = rng.standard_normal((n, len(self.difference)))
            lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
        return replace(change, vectors=torch.from_numpy(drawn / lengths * length))

    def row(self, ablated: Estimate, added: Estimate, is_used: bool, seed: int) -> DirectionRow:
        """Return the place's row of the table."""
        probed = probe(self.training, self.held_out, seed=seed)
        return DirectionRow(
            place=name_of(self.point),
            position=self.role,
            accuracy=probed.accuracy,
            control=probed.control,
            cosine=_cosine(self.difference, probed.direction),
            ablated=ablated,
            added=added,
            by_token=probed.by_token,
            says=says(probed.is_above_chance if is_used else probed.is_encoded, is_used),
        )


def _cosine(a: Float[np.ndarray, " d_model"], b: Float[np.ndarray, " d_model"]) -> float:
    """Return the cosine of the angle between two directions, 0 where one has no length."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths > 0 else 0.0


def _part(progress: Progress, first: int, last: int) -> Progress:
    """Report a piece of work as one part of a thousand."""
    return lambda done, total: progress(first + (last - first) * done // total, 1000)


def says(is_encoded: bool, is_used: bool) -> str:
    """Return the row's conclusion in words."""
    if is_encoded:
        return ENCODED_AND_USED if is_used else ENCODED_ONLY
    return USED_ONLY if is_used else NEITHER


def _common_roles(splits: dict[str, PromptPairs]) -> tuple[str, ...]:
    """Return the roles that all pairs have, in the order of their places.

    Those of a chat template's own text end where the last token or another content does.
    """
    every = [roles for pairs in splits.values() for roles in pairs.roles]
    common = set.intersection(*(set(roles) for roles in every)) - {
        INSTRUCTION_END,
        ASSISTANT_PREFIX,
    }
    return tuple(sorted(common, key=lambda name: (sum(r[name][1] for r in every), name)))


def _residual_points(model: SubjectModel) -> tuple[Point, ...]:
    behind = (hook_points.resid_post(layer) for layer in range(model.graph.n_layers))
    return (hook_points.resid_pre(0), *behind)


def _require_roles(pairs: PromptPairs, wanted: Sequence[str], split: str) -> None:
    for pair, roles in zip(pairs.pairs, pairs.roles, strict=True):
        missing = [name for name in wanted if name not in roles]
        if missing:
            raise PromptError(
                f"directions, {split} pairs: every pair must have the role {missing[0]!r}, got "
                f"{sorted(roles)} for {pair.clean!r}. Its activation is asked for. Choose roles "
                "that every prompt has."
            )


def _require_point(model: SubjectModel, point: Point) -> None:
    graph = model.graph
    lacks = (point.site == "mlp out" and not graph.has_mlps) or (
        point.site == "resid mid" and graph.parallel_attn_mlp
    )
    if point.site not in SITES or not 0 <= point.layer < graph.n_layers or lacks:
        raise GraphError(
            f"directions: a hook point must be one of {', '.join(SITES)} of layers 0 to "
            f"{graph.n_layers - 1}, and exist in model {model.name!r}, got {point.site!r} of layer "
            f"{point.layer}. Directions live where the model is d_model wide. Choose another."
        )
