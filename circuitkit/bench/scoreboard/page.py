"""The scoreboard as a page: tables in Markdown and plots as SVG, made from the rows alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from circuitkit.bench.scoreboard.measure import SETTINGS
from circuitkit.bench.scoreboard.run import HIDING, JOINT, Board, Row, parquet_of
from circuitkit.reporting.plots import drawing, svg_of
from circuitkit.work.files import write_whole

ENOUGH = 0.9  # recall from which a circuit counts as recovered
INCHES = 0.52  # a cell's width
FREE = 0.5  # passes at which what costs nothing is drawn
LINE = 0.045  # height of a label, in recall
HEADS = {
    "recall": "Recall of the true edges (= precision) at their number",
    "auroc": "AUROC over edges",
}
JOINT_NOTE = (
    f"For its cost, `{JOINT}` is measured only where single effects hide something "
    f"({' and '.join(HIDING)}), and not on pico. Elsewhere it has `-`, and its means are of these "
    "circuits alone."
)


def write_board(board: Board, directory: Path, command: str, versions: str) -> list[Path]:
    """Write the page, its plots and its data to a directory, and return the files.

    Raises:
        OutputError: the directory cannot be written.
    """
    files: dict[str, str | bytes] = {"README.md": page_of(board, command, versions)}
    if board.planted_rows():
        files["planted.parquet"] = parquet_of(board.planted_rows())
        files |= {f"{what}.svg": grid_svg(board, what) for what in HEADS}
        files["cost.svg"] = cost_svg(board)
    if board.trained_rows():
        files["trained.parquet"] = parquet_of(board.trained_rows())
    for name, content in files.items():
        write_whole(directory / name, content)
    return [directory / name for name in files]


def page_of(board: Board, command: str, versions: str) -> str:
    """Return the page as Markdown."""
    plan = board.plan
    parts = [
        "# Scoreboard of discovery methods",
        f"Made by `{command}` ({versions}).",
        f"Planted models: {plan.n} pairs find the circuit, {plan.n} others judge it, seeds "
        f"{', '.join(map(str, plan.seeds))}; logit difference; scores and faithfulness under "
        "resample ablation; float32. Every number is the mean over models and seeds, and what "
        "differs from a method's defaults is "
        + "; ".join(f"{name} {dict(changes)}" for name, changes in SETTINGS.items())
        + ". [What planted models are](../planted.md), [the methods](../methods/README.md).",
    ]
    if JOINT in plan.methods:
        parts.append(JOINT_NOTE)
    if board.planted_rows():
        parts += _planted_parts(board)
    if board.trained_rows():
        parts += _trained_parts(board)
    if board.refused:
        parts += ["## Left out", *_refusals(board)]
    return "\n\n".join(parts) + "\n"


def _planted_parts(board: Board) -> list[str]:
    rows, plan = board.planted_rows(), board.plan
    parts = []
    for what, title in HEADS.items():
        parts += [
            f"## {title}",
            f"![{title}]({what}.svg)",
            _table(
                ("method", *plan.difficulties, "worst circuit"),
                [
                    [
                        f"`{method}`",
                        *(_mean(rows, what, method, difficulty=d) for d in plan.difficulties),
                        _worst(rows, what, method),
                    ]
                    for method in plan.methods
                ],
            ),
        ]
    parts += ["## Recall by model", _by_model(board)]
    parts += ["## Nodes, faithfulness and cost", _other_numbers(board)]
    parts += ["![Recall against cost](cost.svg)", _recovered(board)]
    return parts


def _by_model(board: Board) -> str:
    rows, plan = board.planted_rows(), board.plan
    return _table(
        ("method", *(model.removeprefix("planted-") for model in plan.models)),
        [
            [f"`{method}`", *(_mean(rows, "recall", method, model=m) for m in plan.models)]
            for method in plan.methods
        ],
    )


def _other_numbers(board: Board) -> str:
    rows, plan = board.planted_rows(), board.plan
    names = ("average_precision", "node_auroc", "node_average_precision", "faithfulness")
    lines = []
    for method in plan.methods:
        own = [row for row in rows if row.item.method == method]
        cost = [_median(own, "passes"), _median(own, "seconds")]
        lines.append([f"`{method}`", *(_mean(rows, name, method) for name in names), *cost])
    heads = ("average precision", "node AUROC", "node AP", "faithfulness")
    table = _table(("method", *heads, "passes (median)", "seconds (median)"), lines)
    note = (
        "A pass is a forward pass over the same pairs, by counted floating-point operations; "
        "seconds are of one thread and vary from run to run. Faithfulness is that of the circuit "
        "of as many edges as are true; backups and cancelling pairs take part in it."
    )
    return f"{table}\n\n{note}"


def _recovered(board: Board) -> str:
    best: dict[str, float] = {}
    for row in board.planted_rows():
        best[row.item.model] = max(row.numbers["recall"], best.get(row.item.model, 0.0))
    lost = sorted(model for model, recall in best.items() if recall < ENOUGH)
    n_found = len(best) - len(lost)
    text = f"Some method recovers at least {ENOUGH:.0%} of the edges of {n_found} of {len(best)}"
    return f"{text} planted circuits." + (f" Not of: {', '.join(lost)}." if lost else "")


def _trained_parts(board: Board) -> list[str]:
    plan, rows = board.plan, board.trained_rows()
    heads = ["method"]
    for task in plan.trained_tasks:
        heads += [f"{task} CPR", "CMD"]
    lines = []
    for method in plan.methods:
        cells = [f"`{method}`"]
        for task in plan.trained_tasks:
            own = [r for r in rows if r.item.method == method and r.item.task == task]
            cells += [_median(own, "cpr", 3), _median(own, "cmd", 3)] if own else ["-", "-"]
        lines.append(cells)
    return [
        "## A trained model: CPR and CMD on pico",
        f"{plan.n_trained} pairs find, as many others judge; resample ablation, MIB's grid and "
        "integration. A perfect ranking has CPR 0.999 and CMD 0; a random one about 0.25 and 0.75 "
        "on the benchmark's models. CPR above 1 means that circuits do better than the model.",
        _table(heads, lines),
    ]


def _refusals(board: Board) -> list[str]:
    reasons = {why: item for item, why in board.refused.items()}
    lines = [f"- `{item.method}` on {item.model}: {why}" for why, item in reasons.items()]
    return ["\n".join(lines)]


def grid_svg(board: Board, what: str) -> str:
    """Return a grid of methods x models and difficulties, each cell the mean over seeds."""
    plan, rows = board.plan, board.planted_rows()
    pairs = [(model, difficulty) for difficulty in plan.difficulties for model in plan.models]
    values = np.array(
        [[_value(rows, what, method, m, d) for m, d in pairs] for method in plan.methods]
    )
    with drawing():
        figure = Figure(figsize=(2.4 + INCHES * len(pairs), 2.4 + 0.3 * len(plan.methods)))
        axes = figure.add_subplot()
        image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ink = "#FFFFFF" if value < 0.5 else "#222222"
            text = "" if np.isnan(value) else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)
        axes.set_yticks(range(len(plan.methods)), plan.methods)
        names = [model.removeprefix("planted-") for model, _ in pairs]
        axes.set_xticks(range(len(pairs)), names, rotation=60, ha="right", fontsize=8)
        for i, difficulty in enumerate(plan.difficulties):
            middle = i * len(plan.models) + (len(plan.models) - 1) / 2
            axes.text(middle, -0.8, difficulty, ha="center", va="bottom", weight="bold")
            if i:
                axes.axvline(i * len(plan.models) - 0.5, color="#FCFCFA", linewidth=3)
        figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01)
        figure.suptitle(HEADS[what], fontsize=11)
        return svg_of(figure)


def cost_svg(board: Board) -> str:
    """Return recall against cost in forward passes, one point a method."""
    plan, rows = board.plan, board.planted_rows()
    points = []
    for method in plan.methods:
        own = _of(rows, method)
        passes = float(np.median([row.numbers["passes"] for row in own])) if own else 0.0
        if own:
            points.append((max(passes, FREE), _value(rows, "recall", method), method))
    with drawing():
        figure = Figure(figsize=(8.5, 5.2), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_xlim(FREE / 2, 4 * max(passes for passes, *_ in points))
        axes.set_ylim(0, 1.1)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("cost in forward passes over the pairs (median; log scale)")
        axes.set_ylabel("recall at the true size (mean)")
        axes.grid(color="#D8D8D4", linewidth=0.6)
        _label_points(axes, sorted(points))
        return svg_of(figure)


def _label_points(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Draw the points; a label that would lie on an earlier one moves down, with a line to it."""
    taken: list[tuple[float, float, float]] = []  # left and right end in decades, height
    for x, y, name in points:
        left, width = float(np.log10(x)) + 0.05, 0.055 * len(name)
        height = y
        while any(
            left < end and start < left + width and abs(height - other) < LINE
            for start, end, other in taken
        ):
            height -= LINE
        taken.append((left, left + width, height))
        axes.plot(x, y, "o", color="#0072B2", markersize=5)
        if height != y:
            axes.plot([x, 10**left], [y, height], color="#767676", linewidth=0.6)
        axes.text(10**left, height, name, fontsize=8, va="center")


def _of(rows: Sequence[Row], method: str, model: str = "", difficulty: str = "") -> list[Row]:
    def matches(row: Row) -> bool:
        base, kind, _ = row.item.model.split(":")
        right = row.item.method == method and (not model or base == model)
        return right and (not difficulty or kind == difficulty)

    return [row for row in rows if matches(row)]


def _value(
    rows: Sequence[Row], what: str, method: str, model: str = "", difficulty: str = ""
) -> float:
    values = [row.numbers[what] for row in _of(rows, method, model, difficulty)]
    return float(np.nanmean(values)) if values and not np.isnan(values).all() else float("nan")


def _mean(
    rows: Sequence[Row], what: str, method: str, *, model: str = "", difficulty: str = ""
) -> str:
    value = _value(rows, what, method, model, difficulty)
    return "-" if np.isnan(value) else f"{value:.2f}"


def _worst(rows: Sequence[Row], what: str, method: str) -> str:
    own = _of(rows, method)
    if not own:
        return "-"
    row = min(own, key=lambda r: r.numbers[what])
    return f"{row.numbers[what]:.2f} ({row.item.model.removeprefix('planted-')})"


def _median(rows: Sequence[Row], what: str, digits: int = 2) -> str:
    if not rows:
        return "-"
    value = float(np.median([row.numbers[what] for row in rows]))
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}f}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *lines))
