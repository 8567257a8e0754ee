"""Data frames and reprs: every result as a table of its own numbers, and as one short line."""

import builtins
import inspect
import re
from dataclasses import is_dataclass, replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

import circuitkit
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.diff import diff_circuits
from circuitkit.circuits.graph import EdgeScores, NodeScores
from circuitkit.errors import DependencyError
from circuitkit.interpretation.comparison import compare
from circuitkit.interpretation.section import Bars, Column, Diagram, Line, LineChart, Section, Table
from circuitkit.interventions.patching import PatchingEffects
from circuitkit.interventions.path_patching import PathEffects
from circuitkit.interventions.recorded import Direction
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.reporting.frames import FRAMES, columns_of
from circuitkit.reporting.notebook import MAX_ROWS
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.study.difference import FaithfulnessDifference
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.minimality import Needed

from .conftest import SCORES, SCRIPT, near

HOSTILE = f"{SCRIPT}\x1b[31m\n::error::x"
LONGEST = 330  # characters of a repr: a line or two of a terminal


@pytest.fixture(scope="module")
def pairs():
    made = [
        PromptPair([1, 2, 3, i], [1, 2, 4, i], [5], [6, 7], template=HOSTILE, cluster=f"c{i % 2}")
        for i in range(8, 11)
    ]
    return tokenize_pairs(made, None)


@pytest.fixture(scope="module")
def results(request, circuit, heat_map, curve, record, interpreted, pairs):
    """Return an object of every class that is a table, with a stranger's text in it."""
    other = circuit.without(["m0"])
    validation, found = record.validation, interpreted.interpretation
    effects = torch.arange(12, dtype=torch.float64).reshape(2, 2, 3) - 4
    gap = torch.ones(3, dtype=torch.float64)
    table = Table(HOSTILE, (Column("a"), Column("b")), ((HOSTILE, near(0.5)), (3, None)))
    bars = Bars(HOSTILE, "", "logits", ("x", HOSTILE), (near(1.0), near(-2.0)))
    lines = LineChart(
        HOSTILE, "", "layer", "nats", (0.0, 1.0), (Line("l", (near(1.0), near(2.0))),)
    )
    made = [
        circuit,
        circuit.scores,
        NodeScores(("a0.h0", HOSTILE), torch.tensor([0.25, -2.0])),
        diff_circuits(circuit, other),
        validation.verdict,
        validation.verdict.checks[0],
        Needed(
            circuit.edges,
            np.array([True] * 5 + [False]),
            np.array([False] * 5 + [True]),
            np.arange(6.0),
            1.5,
        ),
        validation.faithfulness[0],
        FaithfulnessDifference(
            HOSTILE, "0", "mean", "kl", "nats", near(0.5), near(0.75), near(0.25), near(9.0), 2
        ),
        validation.baseline,
        curve,
        pairs,
        Splits(pairs, pairs, pairs),
        PatchingEffects("resid", Direction.NOISING, ("r0", "r1"), ("S1", HOSTILE), effects, gap),
        PathEffects(("p0", "p1"), ("S1", "S2"), effects, gap),
        heat_map,
        bars,
        lines,
        next(p for s in found.sections for p in s.pictures if isinstance(p, Diagram))
        if any(isinstance(p, Diagram) for s in found.sections for p in s.pictures)
        else Diagram(HOSTILE, "", (), ()),
        table,
        Section("key", HOSTILE, "", tables=(table,), pictures=(bars, heat_map)),
        found.cards[0],
        found,
        compare([found, replace(found, model=HOSTILE)], n_deals=3),
        record,
    ]
    return {type(each): each for each in made}


@pytest.fixture(params=FRAMES, ids=lambda kind: kind.__name__)
def shown(request, results):
    return results[request.param]


def test_every_table_has_the_columns_that_are_documented(shown):
    frame = shown.to_frame()
    says = columns_of(type(shown))
    assert frame.attrs["columns"] == dict(says)
    if not isinstance(shown, Table):
        assert list(frame.columns) == list(says)
    assert all(says.values())


def test_numbers_of_a_frame_are_numbers_even_where_none_was_measured(shown):
    frame = shown.to_frame()
    for name in {"value", "low", "high", "score", "effect"} & set(frame.columns):
        assert frame[name].dtype.kind == "f", name
    assert "n" not in frame.columns or frame["n"].dtype.kind == "i"


def test_a_repr_is_one_short_line_whatever_a_stranger_wrote(shown):
    text = repr(shown)
    assert text.isprintable()
    assert len(text) <= LONGEST
    assert text.startswith(f"{type(shown).__name__}(")


def test_html_escapes_what_a_stranger_wrote(shown):
    html = shown._repr_html_()
    assert "<script" not in html
    assert "<table>" in html
    assert re.sub(r"<[^>]*>", "", html).strip()


def test_a_table_in_a_notebook_is_short_and_says_how_long_it_is(circuit):
    html = circuit.scores._repr_html_()
    assert html.count("<tr>") == MAX_ROWS + 1
    assert f"{MAX_ROWS} of {circuit.graph.n_edges} rows" in html
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert cells[:4] == ["a0.h2-&gt;a1.h0&lt;q&gt;", "+4.000", "a1.h0-&gt;logits", "+3.000"]
    turned = EdgeScores(circuit.graph, -circuit.scores.values)._repr_html_()
    assert re.findall(r"<td>(.*?)</td>", turned)[1] == "-4.000"  # by size, not by sign
    every = diff_circuits(Circuit.full(circuit.graph), Circuit.empty(circuit.graph))._repr_html_()
    assert every.count("<tr>") == MAX_ROWS + 1


def test_edge_scores_are_in_edge_order_with_both_ends(circuit):
    frame = circuit.scores.to_frame()
    assert tuple(frame["edge"]) == circuit.graph.edge_names
    np.testing.assert_array_equal(frame["score"], circuit.scores.by_edge())
    row = frame.set_index("edge").loc["a0.h2->a1.h0<k>"]
    assert (row["sender"], row["receiver"], row["read"]) == ("a0.h2", "a1.h0<k>", "k")


def test_a_circuit_is_its_own_edges_with_their_scores(circuit):
    frame = circuit.to_frame()
    assert dict(zip(frame["edge"], frame["score"], strict=True)) == SCORES


def test_node_scores_keep_their_signs():
    frame = NodeScores(("a", "b"), torch.tensor([0.25, -2.0])).to_frame()
    assert frame.to_dict("list") == {"node": ["a", "b"], "score": [0.25, -2.0]}


def test_a_diff_says_which_circuit_has_an_edge(circuit):
    only = Circuit.of_edges(circuit.graph, ["input->m0", "m0->a1.h0<v>"])
    frame = diff_circuits(circuit, only).to_frame().set_index("edge")
    assert tuple(frame.loc["m0->a1.h0<v>", ["in_a", "in_b"]]) == (True, True)
    assert tuple(frame.loc["input->m0", ["in_a", "in_b"]]) == (False, True)
    assert tuple(frame.loc["a0.h2->m0", ["in_a", "in_b"]]) == (True, False)
    assert len(frame) == len(SCORES) + 1


def test_a_verdict_is_a_row_a_check_with_its_interval_and_bound(record):
    verdict = record.validation.verdict
    frame = verdict.to_frame().set_index("criterion")
    assert list(frame.index) == [check.criterion for check in verdict.checks]
    for check in verdict.checks:
        row = frame.loc[check.criterion]
        assert row["outcome"] == check.outcome
        if check.value is None:
            assert pandas.isna(row["value"])
        else:
            assert (row["value"], row["low"], row["high"]) == (
                check.value.value,
                check.value.low,
                check.value.high,
            )
        assert pandas.isna(row["min"]) == (check.bound.min is None)
        assert check.bound.max is None or row["max"] == check.bound.max
    assert frame.loc["sufficiency", "p"] == 0.05
    [only] = verdict.checks[0].to_frame()["criterion"]
    assert only == "faithfulness"


def test_measurements_name_their_units(record, results):
    found = record.validation.faithfulness[0].to_frame().set_index("quantity")
    assert found.loc["faithfulness", "value"] == 0.8765
    assert found.loc["empty", "value"] == 0.1
    assert found.loc["faithfulness", "unit"] == "share of the gap"
    base = record.validation.baseline.to_frame().set_index("quantity")
    assert base.loc["corrupted", "value"] == -4.5
    assert base.loc["gap", "unit"] == "logits"
    assert pandas.isna(base.loc["preference", "value"])
    change = results[FaithfulnessDifference].to_frame().set_index("quantity")
    assert change["value"].to_dict() == {"a": 0.5, "b": 0.75, "difference": 0.25, "gap": 9.0}
    assert change.loc["gap", "unit"] == "nats"


def test_a_curve_brings_its_random_circuits(curve):
    frame = curve.to_frame().set_index("n_edges")
    row = frame.loc[6]
    assert (row["value"], row["low"], row["high"]) == (0.875, 0.8125, 0.9375)
    assert (row["random_low"], row["random_high"]) == (0.0, 0.5)
    assert row["random_mean"] == pytest.approx(0.625 / 3)


def test_prompt_pairs_are_a_row_a_pair(pairs):
    frame = pairs.to_frame()
    assert list(frame["clean"]) == [(1, 2, 3, i) for i in range(8, 11)]
    assert list(frame["answers"]) == [(5,)] * 3
    assert list(frame["wrong_answers"]) == [(6, 7)] * 3
    assert list(frame["cluster"]) == list(pairs.cluster_names)
    assert list(frame["n_tokens"]) == [4, 4, 4]
    assert list(frame["answer_pos"]) == pairs.label_pos.tolist()
    both = Splits(pairs, pairs.select([0]), pairs.select([1, 2])).to_frame()
    assert both["split"].value_counts().to_dict() == dict(discovery=3, reference=2, validation=1)


def test_effects_of_patching_are_a_row_a_pair(results):
    effects = results[PatchingEffects]
    frame = effects.to_frame().set_index(["row", "column", "pair"])["effect"]
    for i, row in enumerate(effects.rows):
        for j, column in enumerate(effects.columns):
            for pair in range(3):
                assert frame[row, column, pair] == effects.effects[i, j, pair]


def test_a_heat_map_can_be_turned_back_into_its_grid(heat_map):
    grid = heat_map.to_frame().pivot(index="row", columns="column", values="value")
    grid = grid.loc[list(heat_map.rows), list(heat_map.columns)]
    np.testing.assert_array_equal(grid, heat_map.values)


def test_a_table_spreads_estimates_and_a_section_stacks_all_of_it(results):
    frame = results[Table].to_frame()
    assert list(frame.columns) == ["a", "b", "b low", "b high", "b n"]
    assert list(frame["b low"])[0] == near(0.5).low
    assert pandas.isna(list(frame["b"])[1])
    stacked = results[Section].to_frame()
    assert set(stacked["table"]) == {HOSTILE, "resid"}
    cell = stacked[(stacked["table"] == HOSTILE) & (stacked["column"] == "b")].iloc[0]
    assert (cell["value"], cell["n"]) == (0.5, 40)
    assert (stacked["text"] == HOSTILE).any()


def test_an_interpretation_is_a_row_a_component(interpreted):
    found = interpreted.interpretation
    frame = found.to_frame().set_index("component")
    for card in found.cards:
        row = frame.loc[card.component]
        assert row["group"] == card.group
        if card.losses:
            assert row["value"] == card.losses[0].effect.value
        assert row["roles"] == tuple(role.name for role in card.roles if role.claimed)
    card = found.cards[0]
    roles = card.to_frame().set_index("role")
    assert dict(roles["value"]) == {role.name: role.score.value for role in card.roles}
    assert dict(roles["chance"]) == {role.name: role.null for role in card.roles}


def test_runs_are_rows_that_can_be_stacked(record):
    both = pandas.concat([record.to_frame(), record.to_frame()])
    assert len(both) == 2
    row = both.iloc[0]
    assert (row["value"], row["n_edges"], row["n_edges_in_graph"]) == (0.8765, 6, 75)
    assert row["verdict"] == record.validation.verdict.outcome


def test_without_pandas_a_frame_is_refused_with_what_to_install(circuit, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DependencyError, match=r"pip install 'circuitkit-mi\[frames\]'"):
        circuit.to_frame()


def test_no_public_result_keeps_the_repr_that_lists_every_field():
    """Settings and other small things that a user writes keep it: it is what they wrote."""
    written = {
        "Bound", "ComponentGraph", "Estimate", "PatchedPath", "Reading", "Settings",
        "SubjectModel", "Work",
    }  # fmt: skip
    kinds = [getattr(circuitkit, name) for name in circuitkit.__all__]
    results = [kind for kind in kinds if inspect.isclass(kind) and is_dataclass(kind)]
    assert {kind.__name__ for kind in results if is_generated(kind)} == written


def is_generated(kind):
    return hasattr(kind.__repr__, "__wrapped__")  # as the dataclass decorator makes it


def test_a_score_of_every_sign_is_counted_in_the_repr(circuit):
    text = repr(circuit.scores)
    assert "75 edges: 5 above zero, 1 below" in text
    assert "largest +4 at a0.h2->a1.h0<q>" in text
    assert repr(EdgeScores(circuit.graph, -circuit.scores.values)).endswith(
        "largest -4 at a0.h2->a1.h0<q>)"
    )
    assert "6 of 75 edges, 5 components, toy in tiny, eap" in repr(circuit)


def test_an_estimate_shows_its_interval_in_a_repr_of_faithfulness(record):
    assert repr(record.validation.faithfulness[0]).startswith("Faithfulness(0.876 [0.814, 0.939]")
    assert Estimate(1.0, 0.5, 1.5, 3) == eval(repr(Estimate(1.0, 0.5, 1.5, 3)))


def test_the_page_lists_every_table_with_its_columns():
    page = (Path(__file__).parents[2] / "docs" / "objects.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (.*) \|$", page, re.MULTILINE))
    for kind, framing in FRAMES.items():
        found = re.findall(r"`(\w+)`", rows[kind.__name__])
        assert kind is Table or found == list(framing.columns)


def test_minimality_says_of_each_edge_what_it_does(results):
    found = results[Needed]
    frame = found.to_frame().set_index("edge")
    assert tuple(frame.index) == found.edges
    assert list(frame["effect"]) == [0, 1, 2, 3, 4, 5]
    assert list(frame["needed"]) == [True] * 5 + [False]
    assert list(frame["idle"]) == [False] * 5 + [True]


def test_thresholds_show_what_differs_from_the_defaults_and_no_two_look_alike():
    default = Thresholds()
    bounds = [
        {},
        {"kl": Bound(max=0.5)},
        {"kl": Bound(max=0.25)},
        {"kl": Bound(max=0.5, alpha=0.1)},
    ]
    shown = [repr(default.with_bounds(each)) for each in bounds]
    assert shown[0] == "Thresholds(defaults)"
    assert "kl=Bound(min=None, max=0.5" in shown[1]
    fewer = Thresholds({name: b for name, b in default.bounds.items() if name != "kl"})
    assert len({*shown, repr(fewer)}) == len(bounds) + 1
