"""The scoreboard: items, resuming, processes, the page and its data."""

import io
from dataclasses import replace

import pyarrow.parquet
import pytest

from circuitkit.bench.scoreboard import run
from circuitkit.bench.scoreboard.measure import PLANTED_COLUMNS, Item, measure_item, refusal_of
from circuitkit.bench.scoreboard.page import page_of, write_board
from circuitkit.bench.scoreboard.run import Plan, measure_board, parquet_of
from circuitkit.errors import CheckpointError, MethodError, ModelError
from circuitkit.zoo.planted import BLUEPRINTS

SMALL = Plan(
    methods=("eap-ig", "exact", "random"),
    models=("planted-induction", "planted-skip-trigram"),
    difficulties=("plain", "noise"),
    seeds=(0,),
    n=12,
    trained_tasks=(),
)


@pytest.fixture(scope="module")
def board():
    return measure_board(SMALL)


def test_the_board_has_every_item_once_and_its_numbers_have_names(board):
    assert len(board.rows) == 3 * 2 * 2
    assert len({row.item for row in board.rows}) == len(board.rows)
    for row in board.rows:
        assert tuple(row.numbers) == PLANTED_COLUMNS


def test_good_methods_find_plain_and_noisy_circuits_and_random_does_not(board):
    for row in board.rows:
        if row.item.method == "random":
            assert row.numbers["recall"] < 0.9
            assert row.numbers["passes"] == 0
        else:
            assert row.numbers["auroc"] >= 0.99
            assert row.numbers["recall"] >= 0.95
            assert row.numbers["faithfulness"] == pytest.approx(1.0, abs=0.1)


def test_cost_counts_passes():
    item = Item("eap", "planted-induction:plain:0", 12, 0)
    numbers = dict(zip(item.columns, measure_item(item), strict=True))
    assert 2 < numbers["passes"] < 8  # two forward, one backward, and the contraction
    more = Item("eap-ig", "planted-induction:plain:0", 12, 0)
    assert dict(zip(more.columns, measure_item(more), strict=True))["passes"] > numbers["passes"]


def test_what_is_measured_is_not_measured_again(tmp_path, board, monkeypatch):
    path = tmp_path / "results.sqlite"
    half = Plan(**{**vars(SMALL), "difficulties": ("plain",)})
    measure_board(half, checkpoint=path)
    measured, asked = [], []

    def counting(item):
        measured.append(item)
        return measure_item(item)

    def asking(item):
        asked.append(item)
        return refusal_of(item)

    monkeypatch.setattr(run, "measure_item", counting)
    monkeypatch.setattr(run, "refusal_of", asking)
    again = measure_board(SMALL, checkpoint=path)
    assert {item.model.split(":")[1] for item in measured} == {"noise"}
    assert asked == measured
    for row, expected in zip(again.rows, board.rows, strict=True):
        assert row.item == expected.item
        for name in PLANTED_COLUMNS:
            if name != "seconds":
                assert row.numbers[name] == pytest.approx(expected.numbers[name], nan_ok=True)


def test_processes_measure_the_same(board):
    few = Plan(**{**vars(SMALL), "methods": ("exact",), "difficulties": ("plain",)})
    for row in measure_board(few, workers=2).rows:
        [expected] = [other for other in board.rows if other.item == row.item]
        assert row.numbers["auroc"] == expected.numbers["auroc"]


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(CheckpointError):
        measure_board(SMALL, checkpoint=path)


def test_page_and_data_hold_the_numbers(tmp_path, board):
    written = write_board(board, tmp_path, "circuitkit bench-discovery ...", "circuitkit 0")
    names = {path.name for path in written}
    assert names == {"README.md", "planted.parquet", "recall.svg", "auroc.svg", "cost.svg"}
    page = (tmp_path / "README.md").read_text()
    assert "`circuitkit bench-discovery ...`" in page
    assert "| `exact` | 1.00 | 1.00 | 1.00" in page
    assert "of 4 of 4 planted circuits" in page
    table = pyarrow.parquet.read_table(io.BytesIO(parquet_of(board.rows))).to_pylist()
    assert [row["auroc"] for row in table] == [row.numbers["auroc"] for row in board.rows]
    for name in ("recall.svg", "auroc.svg", "cost.svg"):
        text = (tmp_path / name).read_text()
        assert text.lstrip().startswith("<?xml")
        assert "exact" in text


def test_the_page_says_why_joint_knock_outs_are_not_everywhere(board):
    plan = Plan(**{**vars(SMALL), "methods": (*SMALL.methods, "exact-joint")})
    page = page_of(replace(board, plan=plan), "c", "v")
    assert "| `exact-joint` | - | - | - |" in page
    assert "`exact-joint` is measured only where single effects hide something (backup and" in page
    assert "exact-joint" not in page_of(board, "c", "v")


def test_a_circuit_counts_as_recovered_by_the_best_method(board):
    assert "of 4 of 4 planted circuits.\n" in page_of(board, "c", "v")
    poor = [row for row in board.rows if row.item.method == "random"]
    half = [row for row in board.rows if "trigram" in row.item.model and row not in poor]
    page = page_of(replace(board, rows=(*half, *poor)), "c", "v")
    assert "of 2 of 4 planted circuits. Not of: planted-induction:noise:0, planted-ind" in page


def test_a_method_that_does_not_fit_is_left_out_with_its_reason():
    plan = Plan(**{**vars(SMALL), "methods": ("atp-star", "random"), "difficulties": ("plain",)})
    board = measure_board(plan)
    [(item, why)] = board.refused.items()
    assert item.model == "planted-skip-trigram:plain:0"
    assert "at least 2 layers" in why
    assert "GradDrop needs at least 2 layers" in page_of(board, "c", "v")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": ("nope",)}, MethodError, "'nope': must be one of"),
        ({"methods": ()}, MethodError, "at least one method"),
        ({"models": ()}, MethodError, "at least one method and one model"),
        ({"models": ("planted-nothing",)}, ModelError, "planted"),
        ({"difficulties": ("easy",)}, ModelError, "decoys"),
    ],
)
def test_plans_that_cannot_be_are_refused_before_anything_is_measured(changes, error, message):
    with pytest.raises(error, match=message):
        Plan(**{**vars(SMALL), **changes})


def test_a_trained_item_gives_the_benchmarks_areas():
    item = Item("random", "pico", 16, 0, "factual-recall")
    numbers = dict(zip(item.columns, measure_item(item), strict=True))
    assert numbers["f_1"] == pytest.approx(1.0, abs=1e-3)
    assert 0.0 < numbers["cpr"] < 0.6
    assert numbers["cmd"] > 0.4


@pytest.mark.parametrize("model", BLUEPRINTS)
@pytest.mark.parametrize("difficulty", ["plain", "decoys", "positions", "noise"])
def test_exact_patching_and_eap_ig_find_whatever_is_not_hidden(model, difficulty):
    for method in ("exact", "eap-ig"):
        item = Item(method, f"{model}:{difficulty}:1", 24, 1)
        numbers = dict(zip(item.columns, measure_item(item), strict=True))
        assert numbers["auroc"] >= 0.99, method
        assert numbers["recall"] >= 0.95, method


@pytest.mark.parametrize("model", ["planted-skip-trigram", "planted-predecessor"])
@pytest.mark.parametrize("difficulty", ["backup", "cancellation"])
def test_joint_knock_outs_find_what_single_effects_hide(model, difficulty):
    recall = {}
    for method in ("exact", "exact-joint"):
        item = Item(method, f"{model}:{difficulty}:0", 6, 0)
        recall[method] = dict(zip(item.columns, measure_item(item), strict=True))["recall"]
    assert recall["exact-joint"] >= 0.9
    assert recall["exact-joint"] >= recall["exact"]
    if difficulty == "cancellation":
        assert recall["exact"] < 1.0
