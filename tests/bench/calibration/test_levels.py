import warnings
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from circuitkit.bench.calibration import levels
from circuitkit.bench.calibration.levels import (
    SIZES,
    WORST,
    Cell,
    Pool,
    cells_of,
    levels_page,
    measure_levels,
)
from circuitkit.cli.actions import bench_validation
from circuitkit.cli.app import app


@pytest.fixture(scope="module")
def skewed():
    """A pool like a trained circuit's: few pairs of many fail."""
    rng = np.random.default_rng(0)
    gap = 4 + rng.normal(0, 1, 3000)
    return Pool("x", "true", "mean", gap * (1 - rng.gamma(0.5, 0.26, 3000)), gap, 0 * gap)


@pytest.mark.parametrize("n", [16, 32, 100])
def test_rates_are_kept_on_a_pool_in_which_few_pairs_fail(skewed, n):
    cells = {cell.quantity: cell for cell in cells_of(skewed, n, 150)}
    assert set(cells) == {*WORST, "power"}
    assert cells["not covered"].rate <= 0.08
    assert cells["false equivalence"].rate <= 0.1
    apart = cells["false support"].count + cells["false refutation"].count
    assert cells["not covered"].count == apart


def test_an_interval_that_is_too_narrow_is_seen(skewed, monkeypatch):
    def point(change, whole):
        found = real(change, whole)
        half = (found.high - found.low) / 6
        return replace(found, low=found.value - half, high=found.value + half)

    real = levels.share_of_whole
    monkeypatch.setattr(levels, "share_of_whole", point)
    cells = {cell.quantity: cell for cell in cells_of(skewed, 100, 80)}
    assert cells["not covered"].rate > 0.2


def test_pools_are_run_once_and_give_the_same_cells_whatever_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "N_POOL", 64)
    monkeypatch.setattr(levels, "SIZES", (16,))
    first = measure_levels(["planted-skip-trigram:plain:11"], tmp_path, draws=4)
    assert len(list(tmp_path.glob("*.npz"))) == 9
    monkeypatch.setattr(levels, "_run", None)  # nothing is run again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which wait meanwhile
        for n in (1, 2):
            again = measure_levels(["planted-skip-trigram:plain:11"], tmp_path, draws=4, workers=n)
            assert again == first
    assert {cell.n for cell in first} == {16}


def test_the_headline_is_the_worst_cell_not_the_mean():
    def cell(quantity, n, count, fault="true"):
        return Cell(quantity, "m", fault, "mean", n, count, 100)

    cells = [cell(q, n, 1) for q in [*WORST, "power"] for n in SIZES]
    cells.append(cell("false support", 64, 9, "random"))
    page = levels_page(cells, "cmd", "v 1")
    assert "**The worst of 21 cells: false support in 9.0% (" in page
    assert "m, random circuit, mean ablation, 64 pairs" in page
    assert "| false support | 64 | 9.0% (4.2% to 16.4%) | 5.0% |" in page


def test_the_command_names_the_page_of_levels_among_what_it_wrote(tmp_path, monkeypatch):
    cells = [Cell(q, "m", "true", "mean", n, 1, 100) for q in [*WORST, "power"] for n in SIZES]
    for name, result in (("_cases", []), ("measure_false_alarms", []), ("measure_levels", cells)):
        monkeypatch.setattr(bench_validation, name, lambda *_, made=result, **__: made)
    words = ["bench-validation", "--levels", "-q", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    for name in ("README.md", "calibration.json", "levels.md"):
        assert name in done.output
        assert (tmp_path / name).exists()
