"""Every result as a table of its own numbers: what `.to_frame()` and notebooks show.

A table is tidy: a row an edge, a check, a pair or a cell, a column for each thing said of it. Its
numbers are the object's own, never rounded. An estimate takes four columns: value, low and high
(the ends of its 95 % interval) and n, the pairs or clusters behind it; a count is exact and has
n = 1. What was not measured is missing (NaN, or None). frame_columns.py says what columns mean.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.diff import CircuitDiff
from circuitkit.circuits.graph import EdgeScores, NodeScores, read_of
from circuitkit.errors import DependencyError
from circuitkit.interpretation.comparison import Comparison
from circuitkit.interpretation.findings import Card, Interpretation
from circuitkit.interpretation.section import Bars, Diagram, HeatMap, LineChart, Section, Table
from circuitkit.interventions.patching import PatchingEffects
from circuitkit.interventions.path_patching import PathEffects
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.splits import Splits
from circuitkit.reporting.frame_columns import (
    ANY_CELL,
    CELL,
    CHECK,
    COMPONENT,
    EDGE,
    EFFECT,
    ESTIMATE,
    NEED,
    PAIR,
    POINT,
    QUANTITY,
    ROLE,
    RUN,
    SCORE,
    SHARED,
)
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.difference import FaithfulnessDifference
from circuitkit.study.records import RunRecord
from circuitkit.validation.baseline import Baseline
from circuitkit.validation.curve import Curve
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.minimality import Needed
from circuitkit.validation.verdict import Check, Verdict

Row = tuple[Any, ...]
Rows = Iterable[Row]
MEASURED = ("value", "low", "high", "n")
NOTHING: Row = (None, None, None, None)  # of an estimate that was not made


@dataclass(frozen=True)
class Framing:
    """The columns of a class's table with what each means, and the rows of an object of it."""

    columns: Mapping[str, str]
    rows: Callable[[Any], Rows]


@dataclass(frozen=True)
class Numbers:
    """A table: column names and rows of plain values."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def frame_of(shown: object) -> Any:
    """Return a result as a pandas DataFrame; `attrs["columns"]` says what each column means.

    Raises:
        DependencyError: pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError as error:
        why = "A data frame is its own kind of object. Everything else works without."
        raise DependencyError("to_frame", "pandas", "frames", why) from error
    table = numbers_of(shown)
    frame = DataFrame(list(table.rows), columns=list(table.columns))
    for name in {"value", "low", "high", "p", "min", "max", "direct"} & set(table.columns):
        frame[name] = frame[name].astype(float)  # a column of nothing but None stays a number's
    if "n" in table.columns:
        frame["n"] = frame["n"].astype("Int64")  # whole numbers, of which some may be missing
    frame.attrs["columns"] = dict(_framing(shown).columns)
    return frame


def numbers_of(shown: object) -> Numbers:
    """Return the table of a result, its numbers as they are."""
    framing = _framing(shown)
    rows = tuple(framing.rows(shown))
    if isinstance(shown, Table):
        return Numbers(tuple(_headings(shown)), rows)
    return Numbers(tuple(framing.columns), rows)


def columns_of(kind: type) -> Mapping[str, str]:
    """Return the columns of a class's table, and what each means."""
    return FRAMES[kind].columns


def _framing(shown: object) -> Framing:
    return next(each for kind, each in FRAMES.items() if isinstance(shown, kind))


def _measured(found: Estimate | None) -> Row:
    return NOTHING if found is None else (found.value, found.low, found.high, found.n)


def _edge(name: str) -> Row:
    sender, _, receiver = name.partition("->")
    return name, sender, receiver, read_of(receiver)


def _edge_scores(scores: EdgeScores) -> Rows:
    values: list[float] = scores.by_edge().tolist()
    each = zip(scores.graph.edge_names, values, strict=True)
    return [(*_edge(name), value) for name, value in each]


def _circuit(circuit: Circuit) -> Rows:
    kept = set(circuit.edges)
    return [row for row in _edge_scores(circuit.scores) if row[0] in kept]


def _diff(diff: CircuitDiff) -> Rows:
    sides = ((diff.both, True, True), (diff.only_a, True, False), (diff.only_b, False, True))
    return [(*_edge(name), in_a, in_b) for names, in_a, in_b in sides for name in names]


def _check(check: Check) -> Row:
    return (
        check.criterion,
        check.question,
        *_measured(check.value),
        check.p,
        check.bound.min,
        check.bound.max,
        check.outcome,
        check.measures,
        check.same_as,
        check.note,
    )


def _pairs(pairs: PromptPairs) -> Rows:
    lengths: list[int] = pairs.lengths.tolist()
    places: list[int] = pairs.label_pos.tolist()
    return [
        (
            *pair.contents(),
            tuple(pair.answers),
            tuple(pair.wrong_answers),
            template,
            cluster,
            n_tokens,
            place,
        )
        for pair, template, cluster, n_tokens, place in zip(
            pairs.pairs, pairs.templates, pairs.cluster_names, lengths, places, strict=True
        )
    ]


def _splits(splits: Splits) -> Rows:
    for name in ("discovery", "validation", "reference"):
        yield from ((name, *row) for row in _pairs(getattr(splits, name)))


def _quantities(found: Mapping[str, tuple[Estimate | None, str]]) -> Rows:
    return [(name, *_measured(value), unit) for name, (value, unit) in found.items()]


def _faithfulness(found: Faithfulness) -> Rows:
    unit = "the metric's unit"
    parts = {name: (getattr(found, name), unit) for name in ("circuit", "model", "empty")}
    return _quantities({"faithfulness": (found.value, "share of the gap"), **parts})


def _baseline(found: Baseline) -> Rows:
    metric = {name: (getattr(found, name), found.unit) for name in ("clean", "corrupted", "gap")}
    shares = {name: (getattr(found, name), "share") for name in ("accuracy", "preference")}
    return _quantities({**metric, **shares})


def _difference(found: FaithfulnessDifference) -> Rows:
    shares = {name: (getattr(found, name), "share of the gap") for name in ("a", "b", "difference")}
    return _quantities({**shares, "gap": (found.gap, found.unit)})


def _curve(curve: Curve) -> Rows:
    for point in curve.points:
        drawn = point.random
        random = (point.random_mean, min(drawn), max(drawn)) if drawn else (None, None, None)
        yield point.n_edges, *_measured(point.faithfulness), *random


def _heat_map(heat: HeatMap) -> Rows:
    for row, *cells in zip(heat.rows, heat.values, heat.low, heat.high, strict=True):
        for column, value, low, high in zip(heat.columns, *cells, strict=True):
            yield row, column, value, low, high


def _lines(chart: LineChart) -> Rows:
    for line in chart.lines:
        for x, value in zip(chart.x, line.values, strict=True):
            yield line.label, x, *_measured(value)


def _headings(table: Table) -> Iterator[str]:
    """Yield the columns of a table's frame: those that hold an estimate are four."""
    for at, column in enumerate(table.columns):
        yield column.name
        if _holds_estimates(table, at):
            yield from (f"{column.name} {end}" for end in MEASURED[1:])


def _table(table: Table) -> Rows:
    wide = [_holds_estimates(table, at) for at in range(len(table.columns))]
    for row in table.rows:
        cells: list[Any] = []
        for cell, is_wide in zip(row, wide, strict=True):
            measured = _measured(cell) if isinstance(cell, Estimate) else (cell, None, None, None)
            cells += measured if is_wide else measured[:1]
        yield tuple(cells)


def _holds_estimates(table: Table, at: int) -> bool:
    return any(isinstance(row[at], Estimate) for row in table.rows)


def _section(section: Section) -> Rows:
    for table in section.tables:
        for at, row in enumerate(table.rows):
            for column, cell in zip(table.columns, row, strict=True):
                yield table.title, at, column.name, *_cell(cell)
    for picture in section.pictures:
        found = numbers_of(picture)
        for at, row in enumerate(found.rows):
            for name, cell in zip(found.columns, row, strict=True):
                yield picture.name, at, name, *_cell(cell)


def _cell(cell: Any) -> Row:
    if isinstance(cell, Estimate):
        return *_measured(cell), ""
    is_number = isinstance(cell, int | float)
    return (cell, None, None, None, "") if is_number else (*NOTHING, "" if cell is None else cell)


def _card(card: Card) -> Rows:
    for role in card.roles:
        found = _measured(role.score)
        yield role.name, role.kind, *found, role.unit, role.null, role.p, role.claimed


def _interpretation(found: Interpretation) -> Rows:
    for card in found.cards:
        roles = tuple(role.name for role in card.roles if role.claimed)
        lost = card.losses[0].effect if card.losses else None
        direct = None if card.direct is None else card.direct.value
        yield card.component, card.group, roles, *_measured(lost), direct, card.summary


def _comparison(found: Comparison) -> Rows:
    for group in found.groups:
        for model, members, worth in zip(found.models, group.components, group.worth, strict=True):
            yield "group", group.name, model, members, worth
    for edge in found.edges:
        name = f"{edge.sender} -> {edge.receiver} <{edge.read}>"
        for model, share in zip(found.models, edge.shares, strict=True):
            yield "edges", name, model, (), share


def _effects(rows: tuple[str, ...], found: PatchingEffects | PathEffects) -> Rows:
    for row, by_column in zip(rows, found.effects.tolist(), strict=True):
        for column, by_pair in zip(found.columns, by_column, strict=True):
            yield from ((row, column, pair, effect) for pair, effect in enumerate(by_pair))


def _run(record: RunRecord) -> Rows:
    info = record.info
    own = [f.value for f in record.validation.faithfulness if f.ablation == info.ablation]
    yield (
        info.task,
        info.model,
        info.method,
        info.ablation,
        info.seed,
        record.circuit.n_edges,
        record.graph.n_edges,
        *_measured(own[0] if own else None),
        record.validation.verdict.outcome,
    )


def _needed(found: Needed) -> Rows:
    columns = (found.needed.tolist(), found.idle.tolist(), found.effects.tolist())
    each = zip(found.edges, *columns, strict=True)
    return [(*_edge(name), effect, needed, idle) for name, needed, idle, effect in each]


def _arrows(diagram: Diagram) -> Rows:
    for arrow in diagram.arrows:
        yield arrow.sender, arrow.receiver, *_measured(arrow.effect), arrow.says


def _bars(bars: Bars) -> Rows:
    return [(name, *_measured(v)) for name, v in zip(bars.labels, bars.values, strict=True)]


# One line for each class that is a table. docs/objects.md lists the same columns.
FRAMES: dict[type, Framing] = {
    Circuit: Framing({**EDGE, **SCORE}, _circuit),
    EdgeScores: Framing({**EDGE, **SCORE}, _edge_scores),
    NodeScores: Framing({"node": "name of the node", **SCORE}, lambda s: s.by_name().items()),
    CircuitDiff: Framing(
        {**EDGE, "in_a": "whether circuit A has it", "in_b": "whether circuit B has it"}, _diff
    ),
    Verdict: Framing(CHECK, lambda verdict: map(_check, verdict.checks)),
    Check: Framing(CHECK, lambda check: [_check(check)]),
    Needed: Framing({**EDGE, **NEED}, _needed),
    Faithfulness: Framing(QUANTITY, _faithfulness),
    FaithfulnessDifference: Framing(QUANTITY, _difference),
    Baseline: Framing(QUANTITY, _baseline),
    Curve: Framing(POINT, _curve),
    PromptPairs: Framing(PAIR, _pairs),
    Splits: Framing({"split": "discovery, validation or reference", **PAIR}, _splits),
    PatchingEffects: Framing(EFFECT, lambda found: _effects(found.rows, found)),
    PathEffects: Framing(EFFECT, lambda found: _effects(found.paths, found)),
    HeatMap: Framing(CELL, _heat_map),
    Bars: Framing({"label": "name of the bar", **ESTIMATE}, _bars),
    LineChart: Framing({"line": "name of the line", "x": "where it stands", **ESTIMATE}, _lines),
    Diagram: Framing(
        {
            "sender": "where the arrow begins",
            "receiver": "where it ends",
            **ESTIMATE,
            "says": "what is said of it",
        },
        _arrows,
    ),
    Table: Framing({}, _table),
    Section: Framing(ANY_CELL, _section),
    Card: Framing(ROLE, _card),
    Interpretation: Framing(COMPONENT, _interpretation),
    Comparison: Framing(SHARED, _comparison),
    RunRecord: Framing(RUN, _run),
}
