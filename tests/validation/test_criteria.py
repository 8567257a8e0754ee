import pytest

from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import CriterionError
from circuitkit.statistics.bound import Bound
from circuitkit.validation.criteria import CRITERIA, Thresholds, parse_bounds, read_thresholds


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "thresholds.toml"
        path.write_text(text)
        return path

    return write


def test_names_are_their_own_and_the_defaults_are_those_of_the_classes():
    assert all(criterion.name == name for name, criterion in CRITERIA.items())
    assert len({type(criterion) for criterion in CRITERIA.values()}) == len(CRITERIA)
    assert Thresholds().bounds == {name: c.default for name, c in CRITERIA.items()}


def test_a_file_changes_what_it_names_and_nothing_else(written):
    bounds = read_thresholds(
        written(
            "faithfulness = { min = 0.85 }\nminimality = false\nkl = { max = 1 }\n"
            "sufficiency = { alpha = 0.01 }\nequivalence = { min = -0.1, max = 0.1, alpha = 0.1 }\n"
        )
    ).bounds
    changed = {
        "faithfulness": Bound(min=0.85),
        "minimality": Bound(),
        "kl": Bound(max=1.0),
        "sufficiency": Bound(max=0.05, alpha=0.01),
        "equivalence": Bound(-0.1, 0.1, 0.1),
    }
    assert bounds == {**Thresholds().bounds, **changed}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faithfulness = ", "must be a TOML file"),
        ("faithfullness = { min = 0.8 }", "must be among ability, .* got 'faithfullness'"),
        ("faithfulness = true", "must be false or a table of min, max, alpha, got True"),
        ("faithfulness = 0.8", "must be false or a table .* got 0.8"),
        ("faithfulness = {}", "must be false or a table"),
        ("faithfulness = { least = 0.8 }", "must be false or a table .* {'least': 0.8}"),
        ("faithfulness = { min = 0.8, least = 1 }", "must be false or a table"),
        ("faithfulness = { min = '0.8' }", "faithfulness.min must be a number, got '0.8'"),
        ("faithfulness = { max = true }", "faithfulness.max must be a number, got True"),
        ("faithfulness = { min = nan }", "must be a number, got nan"),
        ("faithfulness = { min = -inf }", "must be a number, got -inf"),
        ("faithfulness = { min = 0.8, max = 0.2 }", "min must not be above its max"),
        ("sufficiency = { alpha = 5 }", "alpha must lie between 0 and 1, got 5"),
        ("sufficiency = { max = 0.1, alpha = 0 }", "alpha must lie between 0 and 1, got 0"),
        ("kl = { alpha = 0.01 }", "kl must have a min or a max, got alpha alone"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(written, text, message):
    path = written(text)
    with pytest.raises(CriterionError, match=message) as refused:
        read_thresholds(path)
    assert repr(str(path)) in str(refused.value)


def test_a_missing_or_unreadable_file_is_refused(tmp_path):
    with pytest.raises(CriterionError, match="must be a TOML file"):
        read_thresholds(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CriterionError, match="must be a TOML file"):
        read_thresholds(tmp_path / "bytes.toml")


def test_equal_bounds_are_possible():
    assert parse_bounds({"edges": {"min": 3, "max": 3}}, "here") == {"edges": Bound(3.0, 3.0)}


def test_what_the_search_for_a_size_asks_of_thresholds():
    usual = Thresholds()
    graph = ComponentGraph(n_layers=2, n_heads=3, d_model=12)
    n = graph.n_edges
    assert (usual.min_faithfulness, usual.most_edges(graph)) == (0.8, int(0.15 * n))
    none = usual.with_bounds({"faithfulness": Bound(), "edge-share": Bound()})
    assert (none.min_faithfulness, none.most_edges(graph)) == (0.0, n)
    assert usual.with_bounds({"edge-share": Bound(max=0.0)}).most_edges(graph) == 0
