"""A run with everything kept that runs from its middle need."""

import torch
from torch import Tensor

from circuitkit.graph import READS
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.forward import Sources
from circuitkit.model.hook_points import Point
from circuitkit.model.record import Recorder, require_finite
from circuitkit.model.runs import Run


class RecordedRun:
    """A run with everything kept that a run from its middle needs."""

    def __init__(self, model: SubjectModel, run: Run) -> None:
        self.run, self.model = run, model
        self.kept: dict[Point, Tensor] = {}
        self.sources = run.sources()
        recorder = Recorder(model)
        hooks: dict[Point, Hook] = dict(recorder.hooks())
        for layer in range(model.graph.n_layers):
            points = [hook_points.resid_pre(layer), hook_points.resid_post(layer)]
            points += [hook_points.projection(layer, read) for read in READS]
            if model.graph.has_mlps:
                points += [hook_points.mlp_in(layer), hook_points.mlp_out(layer)]
            for point in points:
                hooks[point] = self._keeper(point, hooks.get(point))
        hooks[hook_points.FINAL_NORM_IN] = self._keeper(hook_points.FINAL_NORM_IN, None)
        with torch.no_grad():
            self.logits = model.run_from(run.entering, run.context, hooks, sources=self.sources)
        self.activations = recorder.activations()
        require_finite(self.activations, model.name)

    def _keeper(self, point: Point, other: Hook | None) -> Hook:
        def keep(x: Tensor) -> None:
            self.kept[point] = x.detach()
            if other is not None:
                other(x)

        return keep

    def past(self, n: int) -> Sources:
        """Return the keys and values in front of the run's start, for `n` copies of its rows."""
        return Sources([kv.repeated(n) for kv in self.run.past])
