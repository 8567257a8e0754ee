import pytest

from circuitkit.contracts.parsing import KEYS, read_contracts
from circuitkit.errors import CircuitkitError, ContractError
from circuitkit.statistics.bound import Bound
from circuitkit.validation.criteria import CRITERIA
from tests.contracts.conftest import write

CIRCUIT = 'circuit = "circuits/ioi.json"\n'


def test_a_contract_says_what_is_claimed_and_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "models/new").mkdir(parents=True)
    text = (
        'model = "models/new"\ntask = "my_task.py:Mine"\nn = 40\nseed = 3\nablation = "zero"\n'
        'faithfulness = { min = 0.85, ablation = "mean" }\nmax_edges = 120\n'
        "sufficiency = { max = 0.1, alpha = 0.01 }\n"
        'drift = { baseline = "circuits/old.json", min_jaccard = 0.8 }\n'
    )
    [contract] = read_contracts(write(tmp_path, CIRCUIT + text))
    assert contract.name == "ioi"
    assert contract.circuit == tmp_path / "circuits/ioi.json"
    assert contract.model == str(tmp_path / "models/new")
    assert contract.task == f"{tmp_path / 'my_task.py'}:Mine"
    assert (contract.n, contract.seed, contract.ablation) == (40, 3, "zero")
    assert contract.criteria == ("faithfulness", "sufficiency", "edges", "drift")
    faithfulness = contract.requirement("faithfulness")
    assert (faithfulness.bound, faithfulness.ablation) == (Bound(min=0.85), "mean")
    assert contract.requirement("edges").bound == Bound(max=120.0)
    assert contract.requirement("sufficiency").bound == Bound(max=0.1, alpha=0.01)
    assert contract.drift.baseline == tmp_path / "circuits/old.json"
    assert contract.drift.min_jaccard == 0.8


def test_names_of_models_that_ship_and_of_tasks_are_left_alone(tmp_path):
    (tmp_path / "pico").mkdir()
    text = 'model = "pico"\ntask = "ioi"\nkl = { max = 1 }'
    [contract] = read_contracts(write(tmp_path, CIRCUIT + text))
    assert (contract.model, contract.task) == ("pico", "ioi")


def test_no_criterion_is_named_like_another_key():
    assert not set(KEYS) & set(CRITERIA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a criterion, max_edges or drift, got none"),
        ("faithfullness = { min = 0.8 }", "got 'faithfullness'"),
        ("faithfulness = { min = true }", "faithfulness.min must be a number, got True"),
        ("faithfulness = { min = nan }", "faithfulness.min must be a number, got nan"),
        ("faithfulness = { min = inf }", "faithfulness.min must be a number, got inf"),
        ('faithfulness = { min = "0.8" }', "faithfulness.min must be a number, got '0.8'"),
        ("faithfulness = { least = 0.8 }", "must be false or a table of min, max, alpha"),
        ("faithfulness = 0.8", "must be false or a table"),
        ("faithfulness = false", "must have a min or a max"),
        ("faithfulness = {}", "must have a min or a max"),
        ('faithfulness = { ablation = "mean" }', "must have a min or a max"),
        ("kl = { alpha = 0.01 }", "must have a min or a max"),
        ("faithfulness = { min = 0.9, max = 0.8 }", "must not be above its max"),
        ('faithfulness = { min = 0.8, ablation = "none" }', "faithfulness.ablation: must be one"),
        ('ablation = "none"\nkl = { max = 1 }', "ablation: must be one of mean"),
        ("ablation = 3\nkl = { max = 1 }", "ablation must be a text, got 3"),
        ("max_edges = true", "edges.max must be a number, got True"),
        ("max_edges = 3\nedges = { max = 4 }", "edges must be bound once"),
        ("n = 0\nkl = { max = 1 }", "n must be a whole number from 1 to 50000, got 0"),
        ("n = true\nkl = { max = 1 }", "n must be a whole number from 1 to 50000, got True"),
        (
            "seed = 1.5\nkl = { max = 1 }",
            "seed must be a whole number from 0 to 9007199254740992, got 1.5",
        ),
        ('name = ""\nkl = { max = 1 }', "name must be a text, got ''"),
        ('name = "a::b"\nkl = { max = 1 }', "name must be printable"),
        ('name = "a\\nb"\nkl = { max = 1 }', "name must be printable"),
        ('prompts = "p.jsonl"\ntask = "ioi"\nkl = { max = 1 }', "prompts must come without task"),
        ('prompts = "p.jsonl"\nn = 5\nkl = { max = 1 }', "prompts must come without n"),
        ('drift = "circuits/ioi.json"', "drift must be a table of baseline and min_jaccard"),
        ('drift = { baseline = "a.json" }', "drift must be a table"),
        ('drift = { baseline = "a.json", min_jaccard = true }', "drift must be a table"),
        ('drift = { baseline = "a.json", min_jaccard = nan }', "drift must be a table"),
        ('drift = { baseline = "a.json", min_jaccard = 80 }', "drift must be a table"),
        ('drift = { baseline = "a.json", min_jaccard = 0 }', "drift must be a table"),
        ("drift = { baseline = 3, min_jaccard = 0.5 }", "drift must be a table"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_file_and_the_contract(tmp_path, text, message):
    path = write(tmp_path, CIRCUIT + text)
    with pytest.raises(CircuitkitError) as refused:
        read_contracts(path)
    assert message in str(refused.value)
    assert f"{path}, contract " in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a contract, got none"),
        ("[tool.circuitkit]\n", "must hold a contract, got none"),
        ("[[tool.circuitkit.contracts]]\n", "got contracts. It would not be judged"),
        ("[tool.circuitkit.contract]\n", "with double brackets"),
        ("[tool]\ncircuitkit = 3\n", "with double brackets"),
        ("[tool.circuitkit]\ncontract = [3]\n", "must be a table, got 3"),
        ("[[tool.circuitkit.contract]]\nkl = { max = 1 }\n", "circuit must be given"),
        ("[[tool.circuitkit.contract]\n", "must be a readable TOML file"),
    ],
)
def test_a_file_without_a_contract_is_refused(tmp_path, text, message):
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    with pytest.raises(ContractError) as refused:
        read_contracts(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ContractError, match="must be a readable TOML file"):
        read_contracts(tmp_path / "pyproject.toml")


def test_two_contracts_may_not_share_a_name(tmp_path):
    path = write(tmp_path, CIRCUIT + "max_edges = 3", CIRCUIT + "max_edges = 4")
    with pytest.raises(ContractError, match="different names, got 'ioi' more than once"):
        read_contracts(path)
