"""A run with everything kept that runs from its middle need."""

from collections.abc import Collection

import torch
from torch import Tensor

from circuitkit.graph import READS
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.forward import Sources
from circuitkit.model.hook_points import Point
from circuitkit.model.record import Recorder, require_finite, require_finite_tensor
from circuitkit.model.runs import Run


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
        require_finite(self.activations, model.name)
        require_finite_tensor(self.logits, f"model {model.name!r}, logits")

    def _keeper(self, point: Point, other: Hook | None) -> Hook:
        def keep(x: Tensor) -> None:
            self.kept[point] = x.detach()
            if other is not None:
                other(x)

        return keep

    def past(self, n: int) -> Sources:
        """Return the keys and values in front of the run's start, for `n` copies of its rows."""
        return Sources([kv.repeated(n) for kv in self.run.past])


def receiver_points(model: SubjectModel) -> list[Point]:
    """Return what must be kept so that any receiver's input can be changed."""
    points = [hook_points.FINAL_NORM_IN]
    for layer in range(model.graph.n_layers):
        points += [hook_points.projection(layer, read) for read in READS]
        if model.graph.has_mlps:
            points += [hook_points.mlp_in(layer), hook_points.mlp_out(layer)]
            points.append(hook_points.resid_post(layer))
    return points
