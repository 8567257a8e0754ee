"""What `patch` and `path` do: measure exact effects, show them as a heat map, and draw it."""

from pathlib import Path

import cattrs

from circuitkit.circuits.circuit import kind_of
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.cli.actions.costs import show_plan
from circuitkit.cli.actions.requests import announce_drawing, request_of
from circuitkit.cli.actions.shown import show_heat_map
from circuitkit.cli.options import Machine, Plannable, What
from circuitkit.cli.sweeps import Paths, Sweep
from circuitkit.cli.terminal import bars, show_json
from circuitkit.interpretation.section import HeatMap
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.path_patching import PatchedPath, inputs_of, patch_paths
from circuitkit.interventions.sites import site_named
from circuitkit.prompts.columns import columns_at, columns_named
from circuitkit.reporting.figures import heat_map_svg
from circuitkit.study.pipeline import heat_map, path_map
from circuitkit.study.settings import Settings
from circuitkit.study.subject import subject_of
from circuitkit.work.files import require_writable_file, write_whole


def patch_everywhere(
    what: What, sweep: Sweep, machine: Machine, shown: Plannable, output: Path | None
) -> None:
    """Patch each place of a kind, and show the effects."""
    site, columns = site_named(sweep.at), columns_named(sweep.by)
    _require_drawable(output)
    announce_drawing(what.n, shown=shown.has_bars)
    subject = subject_of(request_of(what, machine))
    pairs = subject.splits.discovery
    if shown.plan:
        show_plan(subject, Settings(), pairs, shown)
        return
    with bars(shown=shown.has_bars) as stage:
        effects = patch_activations(
            subject.model,
            pairs,
            site,
            columns(pairs),
            metric=subject.metric,
            direction=sweep.direction,
            memory=machine.budget,
            progress=stage(f"Patching: {sweep.at}"),
        )
    _show(heat_map(effects, site.description, subject.metric.unit), len(pairs), shown, output)


def patch_along(
    what: What, paths: Paths, machine: Machine, shown: Plannable, output: Path | None
) -> None:
    """Patch paths, and show the effects."""
    _require_drawable(output)
    announce_drawing(what.n, shown=shown.has_bars)
    subject = subject_of(request_of(what, machine))
    pairs = subject.splits.discovery
    if shown.plan:
        show_plan(subject, Settings(), pairs, shown)
        return
    along = parse_paths(subject.model.graph, paths.senders, paths.to)
    with bars(shown=shown.has_bars) as stage:
        effects = patch_paths(
            subject.model,
            pairs,
            along,
            subject.metric,
            columns_at(pairs, paths.at),
            mlps=paths.mlps,
            direction=paths.direction,
            memory=machine.budget,
            progress=stage("Path patching"),
        )
    name = f"paths to {paths.to} (MLPs {paths.mlps.value})"
    heat = path_map(effects, name, paths.direction, subject.metric.unit)
    _show(heat, len(pairs), shown, output)


def _require_drawable(output: Path | None) -> None:
    if output is not None:
        require_writable_file(output)


def _show(heat: HeatMap, n_pairs: int, shown: Plannable, output: Path | None) -> None:
    if output is not None:
        write_whole(output, heat_map_svg(heat))
    if shown.as_json:
        show_json(cattrs.unstructure(heat))
    else:
        show_heat_map(heat, n_pairs)


def parse_paths(graph: ComponentGraph, senders: str, receivers: str) -> list[PatchedPath]:
    """Return one path for each sender (or senders joined by +) to all receivers.

    `heads`, `mlps` and `all` stand for every such sender that comes before a receiver.

    Raises:
        GraphError: a receiver does not exist.
    """
    to = tuple(name.strip() for name in receivers.split(","))
    kinds = {"heads": ("head",), "mlps": ("mlp",), "all": ("input", "head", "mixer", "mlp")}
    if senders not in kinds:
        groups = [group.split("+") for group in senders.split(",")]
        return [PatchedPath(tuple(name.strip() for name in group), to) for group in groups]
    reached = graph.edge_mask[:, [graph.receivers.index(name) for name in inputs_of(graph, to)]]
    return [
        PatchedPath((sender,), to)
        for sender, feeds in zip(graph.senders, reached.all(1).tolist(), strict=True)
        if feeds and kind_of(sender) in kinds[senders]
    ]
