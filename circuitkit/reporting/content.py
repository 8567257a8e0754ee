"""What a report says, as plain text and tables: the same words for HTML and Markdown.

Nothing here is escaped; the writers do that.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from circuitkit.circuits.graph import INPUT, LOGITS
from circuitkit.interpretation.section import HeatMap
from circuitkit.reporting.values import (
    NONE,
    TableText,
    interval,
    marked,
    n_of,
    number,
    rounded,
    signed,
)
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.records import RunRecord
from circuitkit.validation.criteria import CRITERIA
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.judge import questioned
from circuitkit.validation.knock_outs import inner_components
from circuitkit.validation.questions import QUESTIONS
from circuitkit.validation.verdict import LEAST_P, Check, answer_rows, count_text

N_TOP_EDGES = 25


def verdict_sentences(record: RunRecord) -> tuple[str, ...]:
    """Return the verdict in a sentence and, if the circuit is not faithful enough, why not."""
    sentence = record.validation.verdict.sentence
    return tuple(text for text in (sentence, _shortfall(record)) if text)


def _shortfall(record: RunRecord) -> str:
    validation = record.validation
    check = validation.verdict.check("faithfulness")
    least = validation.thresholds.min_faithfulness
    if check.value is None or check.outcome in ("supported", "reported"):
        return ""
    curve, n_graph = validation.curve, validation.curve.n_edges_in_graph
    reaching = [p.n_edges for p in curve.points if p.faithfulness.value >= least]
    size = record.info.n_edges_selected
    where = (
        f"first reach {least:g} at {reaching[0]} ({reaching[0] / n_graph:.1%})"
        if reaching
        else f"never reach {least:g}"
    )
    return (
        f"Why not: {size} of {n_graph} edges ({size / n_graph:.1%}) were selected; on the curve, "
        f"the edges ranked best by {record.info.method} {where}. Either the behaviour needs more "
        "edges than were allowed, or the scores rank them badly: each edge is scored alone, so "
        "edges that back each other up, or that read what both prompts share, score too low."
    )


def title_of(record: RunRecord) -> str:
    """Return the report's title."""
    return f"Circuit report: {record.info.task} in {short_model(record.info.model)}"


def caption_of(record: RunRecord) -> str:
    """Return the title of the circuit's picture."""
    model = short_model(record.info.model)
    return f"{record.info.task} in {model}, {record.circuit.n_edges} edges"


def short_model(model: str) -> str:
    """Return a model's name; of a directory the last part, as tables give the whole path."""
    return Path(model).name if Path(model).is_absolute() else model


def questions_table(record: RunRecord) -> TableText:
    """Return the questions of the verdict with their answers, and the checks behind each."""
    verdict = questioned(record.validation.verdict)
    rows = tuple(
        (asks, marked(outcome), own or NONE, same or NONE)
        for asks, outcome, own, same in answer_rows(verdict)
    )
    return TableText(("question", "outcome", "checks", "the same measurement"), rows)


def measurements(record: RunRecord) -> str:
    """Return how many measurements the judged checks rest on, as a sentence."""
    verdict = record.validation.verdict
    n, distinct = verdict.n_judged, verdict.n_measurements
    if not verdict.questions:  # written before repetitions were recorded
        return f"{n} checks have a threshold; which repeat another was not recorded: judge again."
    if n == distinct:
        return f"{n} checks have a threshold, each a measurement of its own."
    s = "s" * (distinct != 1)
    return f"{n} checks have a threshold; they rest on {distinct} separate measurement{s}."


def checks_table(record: RunRecord) -> TableText:
    """Return the checks behind the verdict, those of one question together."""
    order = list(QUESTIONS)
    checks = sorted(
        questioned(record.validation.verdict).checks, key=lambda c: order.index(c.question)
    )
    rows = tuple(
        (
            check.criterion,
            QUESTIONS[check.question].asks,
            marked(check.outcome),
            check.rule,
            *_values_of(check),
            _says(check),
        )
        for check in checks
    )
    numeric = ("value", "95 % interval", "n", "p")
    headers = ("criterion", "question", "outcome", "rule", *numeric, "what it says")
    return TableText(headers, rows, frozenset(numeric))


def _values_of(check: Check) -> tuple[str, str, str, str]:
    """Return value, interval, n and p of a check. A value that is itself a p stands under p."""
    if check.value is None:
        return NONE, NONE, NONE, NONE
    if CRITERIA[check.criterion].value_is_p:
        return NONE, NONE, NONE, _p(check.value.value)
    exact = check.value.n == 1
    value = count_text(check.value.value) if exact and check.value.value.is_integer() else ""
    p = NONE if check.p is None else _p(check.p)
    return value or rounded(check.value), interval(check.value), n_of(check.value), p


def _p(p: float) -> str:
    return f"< {LEAST_P:g}" if p < LEAST_P else number(p)


def _says(check: Check) -> str:
    """Return what the value is in plain words, its definition, and what is to be noted."""
    criterion = CRITERIA[check.criterion]
    first = f"{check.measures[0].upper()}{check.measures[1:]}"
    parts = [first, f"Definition: {criterion.summary}"]
    parts += [f"The same measurement as {check.same_as}"] if check.same_as else []
    return ". ".join([*parts, check.note] if check.note else parts)


def question_table(record: RunRecord) -> TableText:
    """Return what was asked of which model."""
    info = record.info
    return TableText(
        ("", "asked"),
        (
            ("task", info.task),
            ("description", info.description),
            ("model", f"{info.model} ({record.graph})"),
            ("weight digest", info.model_digest),
            ("metric", f"{info.metric} ({info.unit})"),
        ),
    )


def baseline_table(record: RunRecord) -> TableText:
    """Return how the whole model does on the task."""
    baseline = record.validation.baseline
    rows = [
        (f"{baseline.metric} on clean prompts ({baseline.unit})", baseline.clean),
        (f"{baseline.metric} on corrupted prompts ({baseline.unit})", baseline.corrupted),
        (f"gap: gain of clean over corrupted ({baseline.unit})", baseline.gap),
        ("accuracy: share whose most likely token is an answer", baseline.accuracy),
    ]
    if baseline.preference is not None:
        rows.append(("preference: share whose answers beat the wrong ones", baseline.preference))
    return _estimates_table(("the whole model", "value", "95 % interval", "n"), rows)


def counts_table(record: RunRecord) -> TableText:
    """Return how large the circuit is, from the whole graph to what was kept."""
    circuit = record.circuit
    inner, of = (
        [name for name in whole.components if name not in (INPUT, LOGITS)]
        for whole in (circuit, record.graph)
    )
    heads = sum(name in record.graph.head_places for name in inner)
    share = circuit.n_edges / record.graph.n_edges
    is_minimal = circuit.provenance.recipe.selection.minimal
    gone = "dead ends and edges that are not needed" if is_minimal else "dead ends"
    return TableText(
        ("size", "count"),
        (
            ("edges of the graph", f"{record.graph.n_edges:,}"),
            ("edges selected", f"{record.info.n_edges_selected:,}"),
            (f"edges without {gone}", f"{circuit.n_edges:,} ({share:.1%})"),
            ("heads and MLPs in the circuit", f"{len(inner)} of {len(of)}"),
            ("heads among them", str(heads)),
        ),
        frozenset({"count"}),
    )


def curve_table(record: RunRecord) -> TableText:
    """Return the points of the faithfulness curve."""
    curve = record.validation.curve
    rows = []
    for point in curve.points:
        has_random = bool(point.random)
        rows.append(
            (
                f"{point.n_edges:,}",
                f"{point.n_edges / curve.n_edges_in_graph:.1%}",
                rounded(point.faithfulness),
                interval(point.faithfulness),
                number(point.random_mean) if has_random else NONE,
                _range(point.random) if has_random else NONE,
            )
        )
    headers = ("edges", "share", "faithfulness", "95 % interval", "random: mean", "random: range")
    return TableText(headers, tuple(rows), frozenset(headers))


def ablations_table(record: RunRecord) -> TableText:
    """Return the circuit's faithfulness under each ablation."""
    rows = tuple(
        (
            each.ablation + (" (the verdict's)" if each.ablation == record.info.ablation else ""),
            rounded(each.value),
            interval(each.value),
            rounded(each.circuit),
            rounded(each.model),
            rounded(each.empty),
            _spread(each),
            n_of(each.value),
        )
        for each in record.validation.faithfulness
    )
    headers = (
        "ablation",
        "faithfulness",
        "95 % interval",
        "m(circuit)",
        "m(model)",
        "m(empty)",
        "single pairs: median (5 to 95 %)",
        "n",
    )
    return TableText(headers, rows, frozenset(headers[1:]))


def edges_table(record: RunRecord) -> TableText:
    """Return the edges with the largest |score|; ties in edge order."""
    scores = record.circuit.scores.by_edge()
    ranked: list[int] = torch.argsort(scores.abs(), descending=True, stable=True).tolist()
    kept = set(record.circuit.edges)
    rows = []
    for rank, at in enumerate(ranked[:N_TOP_EDGES], start=1):
        name = record.graph.edge_names[at]
        in_circuit = "yes" if name in kept else "no"
        rows.append((str(rank), name, signed(float(scores[at])), in_circuit))
    score = f"score ({record.info.unit})"
    headers = ("rank", "edge", score, "in the circuit")
    return TableText(headers, tuple(rows), frozenset({"rank", score}), frozenset({"edge"}))


def provenance_table(record: RunRecord) -> TableText:
    """Return where the numbers come from."""
    info = record.info
    versions = ", ".join(f"{name} {version}" for name, version in sorted(info.versions.items()))
    rows = (
        ("task", info.task),
        ("model", info.model),
        ("weight digest", info.model_digest),
        ("method", info.method),
        ("ablation", info.ablation),
        ("metric", f"{info.metric} ({info.unit})"),
        ("seed", str(info.seed)),
        ("pairs for discovery", str(info.n_discovery)),
        ("pairs for validation", str(info.n_validation)),
        ("pairs for reference (means)", str(info.n_reference)),
        ("pairs dropped", str(info.n_dropped)),
        ("repeated pairs, counted once", str(info.n_repeats)),
        ("independent pairs for validation", str(info.n_clusters or "not counted")),
        *_aligned(info.align),
        ("versions", versions),
    )
    return TableText(("", "value"), rows)


def _aligned(rule: str) -> list[tuple[str, str]]:
    """Return the row that says how pairs of unequal length were aligned, if there are any."""
    stands = {"last": "its last token", "mean": "its mean"}
    told = " or ".join(stands.get(each, each) for each in rule.split(", "))
    value = f"{rule}: for a span of the clean prompt stands {told} in the corrupted one"
    return [("pairs of unequal length, aligned by", value)] if rule else []


def heat_map_files(heat_maps: Iterable[HeatMap]) -> tuple[str, ...]:
    """Return a file name for each heat map, all different and safe: `heatmap-resid.svg`."""
    names: list[str] = []
    for heat_map in heat_maps:
        stem = "heatmap-" + re.sub(r"[^A-Za-z0-9_-]+", "-", heat_map.name)
        if f"{stem}.svg" in names:
            stem += f"-{len(names)}"
        names.append(f"{stem}.svg")
    return tuple(names)


def component_list(record: RunRecord) -> str:
    """Return the circuit's components between the input and the logits, in one line."""
    return ", ".join(inner_components(record.circuit)) or "none"


def _estimates_table(headers: tuple[str, ...], rows: list[tuple[str, Estimate]]) -> TableText:
    cells = tuple((name, rounded(e), interval(e), n_of(e)) for name, e in rows)
    return TableText(headers, cells, frozenset(headers[1:]))


def _range(values: tuple[float, ...]) -> str:
    return f"{number(min(values))} to {number(max(values))}"


def _spread(faithfulness: Faithfulness) -> str:
    if not faithfulness.per_pair:
        return NONE
    low, middle, high = np.percentile(faithfulness.per_pair, [5, 50, 95])
    return f"{number(middle)} ({number(low)} to {number(high)})"
