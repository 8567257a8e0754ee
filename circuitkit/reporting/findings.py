"""What an interpretation says of groups, directions and sweeps, as plain text and tables."""

from circuitkit.interpretation.findings import Interpretation, PromptView, Sweep
from circuitkit.reporting.content import (
    Table,
    heat_map_files,
    interval,
    number,
    signed,
    visible,
)
from circuitkit.reporting.figures import heat_map_svg
from circuitkit.study.records import HeatMap

READING = {
    "cards": (
        "One card for each component. A role is claimed if its score is above chance on the same "
        "prompts, corrected for all roles and components that were tried. Effects are positive "
        "where the part supports the behaviour; brackets hold 95 % intervals over pairs."
    ),
    "groups": (
        "Components that behave alike, and all edges from one group to another; the effect is that "
        "of noising them together. Dashed: it works against the behaviour. Edges of less than 2 % "
        "of the gap stand in the tables alone."
    ),
    "sweeps": "Means over pairs, each cell on its own. Positive supports the behaviour.",
    "directions": (
        "A linear probe finds the concept (accuracy on held-out pairs, against probes for labels "
        "that mean nothing); ablated and added are what taking the direction out loses and putting "
        "it in gains, as shares of the gap. What is there need not be used."
    ),
    "notes": "What was left out, and why.",
}


def groups_table(found: Interpretation) -> Table:
    """Return the groups and their components."""
    rows = tuple((each.name, ", ".join(each.components), each.summary) for each in found.groups)
    return Table(("group", "components", "what they do"), rows)


def group_edges_table(found: Interpretation) -> Table:
    """Return the edges between groups."""
    effect = f"effect ({found.unit})"
    rows = tuple(
        (
            each.sender,
            each.receiver,
            str(each.n_edges),
            signed(each.effect.value),
            interval(each.effect),
        )
        for each in found.group_edges
    )
    headers = ("from", "to", "edges", effect, "95 % interval")
    return Table(headers, rows, frozenset(headers[2:]))


def directions_table(found: Interpretation) -> Table:
    """Return which concepts are encoded where, and whether they are used there."""
    rows = tuple(
        (
            each.place,
            each.position,
            f"{number(each.accuracy.value)} {interval(each.accuracy)}",
            f"{number(each.control.value)} {interval(each.control)}",
            number(each.cosine),
            f"{number(each.ablated.value)} {interval(each.ablated)}",
            f"{number(each.added.value)} {interval(each.added)}",
            each.says,
        )
        for each in found.directions
    )
    headers = ("place", "position", "accuracy", "control", "cosine", "ablated", "added", "says")
    return Table(headers, rows, frozenset({"cosine"}))


def sweep_map(sweep: Sweep) -> HeatMap:
    """Return a sweep as a heat map that can be drawn."""
    return HeatMap(
        site=sweep.name,
        description=sweep.description,
        direction="",
        unit=sweep.unit,
        rows=sweep.rows,
        columns=sweep.columns,
        values=sweep.values,
        low=sweep.low,
        high=sweep.high,
        gap=sweep.whole,
    )


def sweep_svg(sweep: Sweep) -> str:
    """Return a sweep drawn."""
    return heat_map_svg(sweep_map(sweep), "The whole of it amounts to")


def sweep_files(found: Interpretation) -> tuple[str, ...]:
    """Return a file name for each sweep, all different and safe."""
    names = heat_map_files(sweep_map(sweep) for sweep in found.sweeps)
    return tuple(name.replace("heatmap-", "sweep-", 1) for name in names)


def prompt_title(view: PromptView, number_of_prompt: int) -> str:
    """Return what the picker calls a prompt: its number and its text."""
    text = " ".join("".join(view.tokens).split())
    return f"Prompt {number_of_prompt}: {visible(text).replace('␣', ' ')}"
