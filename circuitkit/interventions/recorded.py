"""Runs with everything kept that runs from their middle need, and the two sides of an effect."""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.graph import READS
from circuitkit.errors import AlignmentError
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.forward import Hooks, Sources, sees_whole_rows
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import Recorder, require_finite
from circuitkit.model.runs import Run
from circuitkit.names import Direction as Direction
from circuitkit.prompts.pairs import PromptPairs


class RecordedRun:
    """What senders write, what enters every layer, and the activations at some points."""

    def __init__(self, model: SubjectModel, run: Run, points: Collection[Point]) -> None:
        self.run = run
        self.kept: dict[Point, Tensor] = {}
        self.sources = run.sources()
        recorder = Recorder(model)
        hooks: dict[Point, Hook] = dict(recorder.hooks())
        entrances = {hook_points.resid_pre(layer) for layer in range(model.graph.n_layers)}
        for point in entrances.union(points):
            hooks[point] = self._keeper(point, hooks.get(point))
        with torch.no_grad():
            self.logits = model.run_from(run.entering, run.context, hooks, sources=self.sources)
        self.activations = recorder.activations(run)
        require_finite(self.activations, model.name, logits=self.logits)

    def _keeper(self, point: Point, other: Hook | None) -> Hook:
        def keep(x: Tensor) -> None:
            self.kept[point] = self._at_clean(point, x.detach())
            if other is not None:
                other(x)

        return keep

    def _at_clean(self, point: Point, x: Tensor) -> Tensor:
        """Return an activation at the positions of the clean prompts."""
        if self.run.stand_ins is None or point == hook_points.FINAL_NORM_IN:
            return x
        if point == hook_points.pattern(point.layer):
            raise _not_level("attention patterns", "They look from position to position.")
        return self.run.at_clean(x)

    def again(
        self, model: SubjectModel, n: int, hooks: Hooks, *, layer: int, start: int
    ) -> Float[Tensor, "row *label vocab"]:
        """Return the logits of `n` copies of this run, changed by hooks.

        Nothing may change before `layer`, nor in front of position `start` of a causal model.
        """
        context = self.run.context.from_position(start).repeated(n)
        entering = self.kept[hook_points.resid_pre(layer)][:, start:].repeat(n, 1, 1)
        fresh = self.sources.fresh[layer:] if start else []
        past = [kv.before(start).repeated(n) for kv in fresh]
        with torch.no_grad():
            return model.run_from(
                entering,
                context,
                hooks,
                first=layer,
                sources=Sources([*past[:1] * layer, *past]),  # earlier layers are not run
                last_at_label=not sees_whole_rows(hooks, model.graph.n_layers - 1),
            )

    def past(self, n: int) -> Sources:
        """Return the keys and values in front of the run's start, for `n` copies of its rows."""
        return Sources([kv.repeated(n) for kv in self.run.past])


class BothRuns:
    """The clean and the corrupted run of some pairs, and effects measured between them.

    Noising changes the clean run (the base) with values of the corrupted one (the donor), denoising
    the other way round. Effects are positive where the behaviour is supported.
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        runs: tuple[Run, Run],
        metric: Metric,
        direction: Direction,
        points: Collection[Point],
    ) -> None:
        self.metric, self.noising = metric, direction is Direction.NOISING
        self.clean, self.corrupted = (RecordedRun(model, run, points) for run in runs)
        if not self.noising and self.corrupted.run.stand_ins is not None:
            raise _not_level("denoising", "It changes the corrupted run.")
        labelled = pairs
        if metric.needs_clean_logits:
            labelled = pairs.with_clean_logits(self.clean.logits)
        self.labels = labelled.labels.to(model.device)
        clean, corrupted = (
            metric.gain(side.logits, self.labels) for side in (self.clean, self.corrupted)
        )
        self.gap = (clean - corrupted).double().cpu()
        self.base_gain = clean if self.noising else corrupted

    @property
    def base(self) -> RecordedRun:
        """The run that is changed."""
        return self.clean if self.noising else self.corrupted

    @property
    def donor(self) -> RecordedRun:
        """The run that lends its values."""
        return self.corrupted if self.noising else self.clean

    def effects(
        self, logits: Float[Tensor, "row *label vocab"], n: int
    ) -> Float[Tensor, "change pair"]:
        """Return the effects of `n` changes of the base, given the logits of each on every pair."""
        gain = self.metric.gain(logits, self.labels.repeated(n))
        change = self.base_gain.repeat(n) - gain
        return (change if self.noising else -change).double().cpu().reshape(n, -1)


def receiver_points(model: SubjectModel) -> list[Point]:
    """Return what must be kept so that any receiver's input can be changed."""
    points = [hook_points.FINAL_NORM_IN]
    for layer in range(model.graph.n_layers):
        points += [hook_points.projection(layer, read) for read in READS]
        if model.graph.has_mlps:
            points += [hook_points.mlp_in(layer), hook_points.mlp_out(layer)]
            points.append(hook_points.resid_post(layer))
    return points


def _not_level(what: str, why: str) -> AlignmentError:
    return AlignmentError(
        f"{what}: clean and corrupted prompts must have equally many tokens, got pairs that are "
        f"aligned span by span. {why} Use noising at other sites, or pairs of equal length."
    )
