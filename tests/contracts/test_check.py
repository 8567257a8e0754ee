import json
import shutil
from pathlib import Path

import pytest

from circuitkit.circuits.file import load_circuit, save_circuit
from circuitkit.contracts.cases import ContractCases
from circuitkit.contracts.check import (
    BROKEN,
    HOLDS,
    NOT_JUDGED,
    ContractResult,
    ItemResult,
    check_contract,
    check_contracts,
    check_item,
    outcome_of_contracts,
)
from circuitkit.contracts.parsing import read_contracts
from circuitkit.errors import ContractError
from circuitkit.study import subject as subject_module
from circuitkit.study.recipe import with_provenance
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of_task
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted
from tests.contracts.conftest import BASE, contract_of, edit_origin, edit_recipe, write

PICO = Path(__file__).parents[2] / "circuits"


def judged(root, text):
    """Return how the only requirement of a contract stands."""
    [item] = check_contract(contract_of(root, text), ContractCases()).items
    return item


def test_the_interval_decides_whether_a_contract_holds(project):
    value = judged(project, "faithfulness = { min = -5 }").check.value
    assert value.low < value.value < value.high
    assert value.n == 40
    for bound, outcome in [
        (value.low - 1e-9, HOLDS),
        (value.value, NOT_JUDGED),
        (value.high + 1e-9, BROKEN),
    ]:
        assert judged(project, f"faithfulness = {{ min = {bound} }}").outcome == outcome


def test_a_broken_message_is_understood_alone(project):
    edit_origin(project / "circuits/toy.json", verdict="supported")
    item = judged(project, 'faithfulness = { min = 3, ablation = "zero" }')
    assert item.outcome == BROKEN
    for part in (
        f"{project / 'pyproject.toml'}, contract 'toy': faithfulness under zero ablation must be "
        f"at least 3, got {item.check.value}, n = 40.",
        "When the circuit was made, its verdict was supported.",
        "weights are those that the circuit was found in",
        f"circuitkit validate {project / 'circuits/toy.json'}",
        "--ablation zero --criteria faithfulness`",
    ):
        assert part in item.message


def test_other_weights_are_judged_and_a_broken_message_says_so(project):
    edit_origin(project / "circuits/toy.json", model_digest="0" * 16)
    digest = load_model(project / "toy").digest
    broken = judged(project, "faithfulness = { min = 3 }")
    changed = f"The model's weights are {digest}, the circuit was found in {'0' * 16}."
    assert changed in broken.message
    assert "--anyway" in broken.message
    assert judged(project, "faithfulness = { min = -5 }").outcome == HOLDS


def test_an_open_question_says_how_many_pairs_would_do(project):
    value = judged(project, "faithfulness = { min = -5 }").check.value
    item = judged(project, f"faithfulness = {{ min = {(value.value + value.low) / 2} }}")
    assert item.outcome == NOT_JUDGED
    assert "pairs would decide" in item.message
    assert "Raise n in the contract" in item.message


def test_each_criterion_is_judged_under_its_own_ablation(project):
    text = 'faithfulness = { min = -9, ablation = "zero" }'
    zero = judged(project, text).check.value
    own = judged(project, "faithfulness = { min = -9 }").check.value
    resample = judged(project, 'ablation = "resample"\nfaithfulness = { min = -9 }').check.value
    assert own == resample != zero


def test_size_is_a_count_without_interval(project):
    n_edges = load_circuit(project / "circuits/toy.json").n_edges
    assert judged(project, f"max_edges = {n_edges}").outcome == HOLDS
    item = judged(project, f"max_edges = {n_edges - 1}")
    assert item.outcome == BROKEN
    assert f"edges must be at most {n_edges - 1}, got {n_edges}." in item.message


def spoil(project, what):
    path = project / "circuits/toy.json"
    if what == "missing":
        path.unlink()
    elif what == "truncated":
        path.write_text(path.read_text()[:99])
    elif what == "tokenizer":
        edit_origin(path, tokenizer_digest="1" * 16)
    elif what == "seen":
        lines = [json.loads(x) for x in (project / "pairs.jsonl").read_text().splitlines()]
        for line in lines:
            line["split"] = {"discovery": "validation", "validation": "discovery"}[line["split"]]
        (project / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    elif what == "schema":
        data = json.loads(path.read_text())
        data["circuitkit"]["schema"] = 99
        path.write_text(json.dumps(data))
    elif what == "architecture":
        path.write_text((PICO / "ioi.json").read_text())
        edit_origin(path, tokenizer_digest="")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "must exist, got no such file"),
        ("truncated", "must be complete JSON"),
        ("tokenizer", "with the tokenizer it was found with"),
        ("seen", "others than those that found the circuit"),
        ("schema", "schema must be one of (1, 2), got 99"),
        ("architecture", "must be of the architecture of model"),
    ],
)
def test_what_cannot_be_judged_names_the_contract_and_the_others_still_run(project, what, message):
    text = "kl = { max = 9 }\nfaithfulness = { min = -5 }\n"
    small = BASE.replace("toy.json", "small.json")
    path = write(project, BASE + text, small + "max_edges = 999")
    spoil(project, what)
    first, second = check_contracts(read_contracts(path))
    assert [item.outcome for item in first.items] == [NOT_JUDGED] * 2
    for item in first.items:
        assert message in item.message
        assert f"{path}, contract 'toy': {item.criterion} could not be judged." in item.message
    # the prompts that judge the small circuit are those that found it, where they are swapped
    assert second.items[0].outcome == (NOT_JUDGED if what == "seen" else HOLDS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('model = "toy"', 'model = "no-such-model"', "model 'no-such-model'"),
        ('prompts = "pairs.jsonl"', 'task = "oii"', "task 'oii': must be one of"),
        ('prompts = "pairs.jsonl"', 'task = "gone.py:X"', "must exist, got no such file"),
        ('prompts = "pairs.jsonl"', 'prompts = "gone.jsonl"', "prompt file"),
        ('prompts = "pairs.jsonl"', "", "must name a task that is installed, got 'pairs'"),
    ],
)
def test_an_unknown_model_or_task_could_not_be_judged(project, old, new, message):
    edit_recipe(project / "circuits/toy.json", pairs={"task": "pairs"})
    path = write(project, (BASE + "kl = { max = 9 }").replace(old, new))
    [result] = check_contracts(read_contracts(path))
    assert result.items[0].outcome == NOT_JUDGED
    assert message in result.items[0].message
    assert "contract 'toy'" in result.items[0].message


def test_a_circuit_that_names_no_model_needs_one_in_the_contract(project):
    edit_origin(project / "circuits/toy.json", model="")
    path = write(project, (BASE + "kl = { max = 9 }").replace('model = "toy"', ""))
    [result] = check_contracts(read_contracts(path))
    assert "must name its model, got none" in result.items[0].message


def test_a_task_that_raises_what_it_likes_could_not_be_judged(project):
    (project / "mine.py").write_text(
        "from circuitkit import Task\nclass Mine(Task):\n    name = 'mine'\n"
        "    def pairs(self, rng):\n        raise RuntimeError('oh no')\n        yield\n"
    )
    text = (BASE + "kl = { max = 9 }").replace('prompts = "pairs.jsonl"', 'task = "mine.py:Mine"')
    [result] = check_contracts(read_contracts(write(project, text)))
    assert result.items[0].outcome == NOT_JUDGED
    assert "without error, got RuntimeError: oh no (" in result.items[0].message
    assert "mine.py, line 5" in result.items[0].message


def test_too_few_pairs_are_never_a_pass(project):
    lines = (project / "pairs.jsonl").read_text().splitlines()
    (project / "pairs.jsonl").write_text("\n".join(lines[:40]))
    item = judged(project, "faithfulness = { min = -5 }")
    assert item.outcome == NOT_JUDGED
    assert "too few pairs to judge: 10" in item.message


def test_a_model_is_loaded_once_for_all_contracts_that_share_it(project, monkeypatch):
    loaded = []

    def load(name, **settings):
        loaded.append(name)
        return load_model(name, **settings)

    monkeypatch.setattr(subject_module, "load_model", load)
    small = BASE.replace("toy.json", "small.json")
    path = write(project, BASE + "max_edges = 999\nkl = { max = 9 }", small + "max_edges = 999")
    assert outcome_of_contracts(check_contracts(read_contracts(path))) == HOLDS
    assert loaded == [str(project / "toy")]


def test_only_what_matches_is_judged_and_nothing_that_matches_is_refused(project):
    contracts = read_contracts(write(project, BASE + "max_edges = 999\nkl = { max = 9 }"))
    [result] = check_contracts(contracts, matching="y::kl")
    assert [item.criterion for item in result.items] == ["kl"]
    with pytest.raises(ContractError, match="must match a requirement, got none of toy::kl"):
        check_contracts(contracts, matching="faithfulness")


@pytest.mark.parametrize(
    ("outcomes", "together"),
    [
        ((HOLDS, HOLDS), HOLDS),
        ((HOLDS, BROKEN), BROKEN),
        ((NOT_JUDGED, BROKEN, HOLDS), BROKEN),
        ((NOT_JUDGED, HOLDS), NOT_JUDGED),
        ((), NOT_JUDGED),
    ],
)
def test_broken_wins_and_nothing_at_all_is_not_a_pass(project, outcomes, together):
    items = tuple(ItemResult("kl", outcome, "") for outcome in outcomes)
    contract = contract_of(project, "max_edges = 1")
    assert outcome_of_contracts([ContractResult(contract, items)]) == together


def drift_of(project, **named):
    options = {"circuit": "toy", "baseline": "toy", "least": 0.8} | named
    text = BASE.replace("toy.json", f"{options['circuit']}.json")
    text += f'drift = {{ baseline = "circuits/{options["baseline"]}.json", '
    text += f"min_jaccard = {options['least']} }}\n{options.get('more', '')}"
    [contract] = read_contracts(write(project, text))
    return check_item(contract, "drift", ContractCases())


def test_a_circuit_found_again_in_its_own_model_has_not_drifted(project):
    item = drift_of(project, least=1)
    assert item.outcome == HOLDS
    assert item.check.value.value == 1.0
    assert "lost none; gained none" in item.check.note


def test_a_copy_of_the_circuit_as_its_baseline_is_found_again_like_the_file_itself(project):
    for of in ("toy", "other"):
        shutil.copy(project / "circuits/toy.json", project / "circuits/copy.json")
        edit_origin(project / "circuits/copy.json", verdict="supported", versions={"torch": "1"})
        text = BASE.replace('"toy"', f'"{of}"')
        own, copied = (
            text + f'drift = {{ baseline = "circuits/{name}.json", min_jaccard = 0.9 }}'
            for name in ("toy", "copy")
        )
        [mine] = check_contracts(read_contracts(write(project, own)))[0].items
        [item] = check_contracts(read_contracts(write(project, copied)))[0].items
        assert item.outcome == mine.outcome == (HOLDS if of == "toy" else BROKEN)
        assert item.check.value == mine.check.value
        assert "circuitkit diff" not in item.message


def test_drift_lists_edges_lost_and_gained_and_the_change_of_each_criterion(project):
    toy, small = (load_circuit(project / f"circuits/{name}.json") for name in ("toy", "small"))
    gained = [edge for edge in toy.edges if edge not in small.edges]
    share = len(set(toy.edges) & set(small.edges)) / len({*toy.edges, *small.edges})
    item = drift_of(project, baseline="small")
    assert item.outcome == BROKEN
    assert item.check.value.value == pytest.approx(share)
    assert f"{toy.n_edges} edges where the baseline has {small.n_edges}" in item.message
    assert f"lost none; gained {len(gained)} ({', '.join(gained[:10])}, and" in item.message
    for criterion in ("faithfulness", "kl", "agreement"):
        assert f"; {criterion} " in item.message
    assert item.message.count(", a change of ") == 3
    back = drift_of(project, circuit="small", baseline="toy")
    assert f"lost {len(gained)} (" in back.message
    assert "gained none" in back.message


def test_a_jaccard_index_of_just_the_least_holds(project):
    share = drift_of(project, baseline="small").check.value.value
    assert drift_of(project, baseline="small", least=share).outcome == HOLDS
    assert drift_of(project, baseline="small", least=share + 1e-9).outcome == BROKEN


def test_the_change_of_a_criterion_is_today_minus_the_baseline(project):
    grown = drift_of(project, baseline="small").message
    value, *_ = grown.partition("; kl ")[0].rpartition("a change of ")[2].partition(" [")
    before, after = (
        judged(project, "faithfulness = { min = -9 }").check.value.value,
        check_item(
            read_contracts(
                write(project, BASE.replace("toy.json", "small.json") + "kl = { max = 9 }\n"
                      "faithfulness = { min = -9 }")
            )[0],
            "faithfulness",
            ContractCases(),
        ).check.value.value,
    )  # fmt: skip
    assert float(value) == pytest.approx(before - after, abs=2e-3)


def test_other_weights_hold_another_circuit(project):
    text = BASE.replace('"toy"', '"other"')
    text += 'drift = { baseline = "circuits/toy.json", min_jaccard = 0.9 }'
    [result] = check_contracts(read_contracts(write(project, text)))
    [item] = result.items
    assert item.outcome == BROKEN
    assert "The model's weights are" in item.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"discovery_prompts": []}, "must say which prompts found it, got none"),
        ({"recipe": {"method": "by-hand"}}, "its method 'by-hand' is unknown"),
    ],
)
def test_a_circuit_that_cannot_be_found_again_could_not_be_judged(project, change, message):
    edit_origin(project / "circuits/toy.json", **change)
    item = drift_of(project)
    assert item.outcome == NOT_JUDGED
    assert message in item.message
    assert f"Compared with {project / 'circuits/toy.json'}: " in item.message


def test_a_baseline_of_another_schema_is_named_with_the_contract(project):
    data = json.loads((project / "circuits/small.json").read_text())
    data["circuitkit"]["schema"] = 3
    (project / "circuits/small.json").write_text(json.dumps(data))
    item = drift_of(project, baseline="small")
    assert item.outcome == NOT_JUDGED
    assert "contract 'toy': drift could not be judged. Compared with " in item.message
    assert "small.json': schema must be one of (1, 2), got 3" in item.message


def test_criteria_are_not_compared_on_prompts_that_found_the_baseline(project):
    circuit = load_circuit(project / "circuits/small.json")
    swapped = [json.loads(x) for x in (project / "pairs.jsonl").read_text().splitlines()]
    edit_origin(project / "circuits/toy.json", discovery_prompts=[])
    for line in swapped:
        line["split"] = {"discovery": "validation", "validation": "discovery"}[line["split"]]
    (project / "pairs.jsonl").write_text("\n".join(map(json.dumps, swapped)))
    assert circuit.provenance.discovery_prompts
    item = drift_of(project, baseline="small")
    assert item.outcome == BROKEN
    assert "criteria not compared: validation pairs: must be others than" in item.message


@pytest.fixture
def of_task(project):
    """A project whose circuit is the true one of a planted model, as if a task had found it."""
    name = "planted-induction"
    model = load_model(name)
    task = find_task(name)
    request = Request(name, model=name, n=24, seed=5)
    subject = subject_of_task(task, task.metric, model, request)
    truth = planted(name).truth(model)
    found = with_provenance(truth, subject, Settings(seed=5), n_selected=truth.n_edges)
    save_circuit(found, project / "circuits/truth.json")
    return project


def truth_result(root, text):
    [contract] = read_contracts(write(root, 'circuit = "circuits/truth.json"\n' + text))
    [item] = check_contract(contract, ContractCases()).items
    return item


def test_what_a_contract_does_not_say_the_circuit_file_does(of_task):
    item = truth_result(of_task, "n = 20\nfaithfulness = { min = 0.8 }")
    assert item.outcome == HOLDS
    assert item.check.value.n == 20
    # of the hundred pairs that the file asks for, 99 are independent
    assert truth_result(of_task, "faithfulness = { min = 0.9 }").check.value.n == 99
    broken = truth_result(of_task, "n = 20\nfaithfulness = { min = 9 }").message
    assert "--model planted-induction --task planted-induction --n 20 --seed 5" in broken


def test_another_seed_may_not_draw_the_prompts_that_found_the_circuit(of_task):
    contract = 'circuit = "circuits/truth.json"\nfaithfulness = { min = 0.9 }\nseed = '
    assert read_contracts(write(of_task, contract + "6"))[0].seed == 6
    drift = 'seed = 6\ndrift = { baseline = "circuits/truth.json", min_jaccard = 0.5 }'
    item = truth_result(of_task, drift)
    assert item.outcome == NOT_JUDGED
    assert "must be found again on the 48 prompts that found it, got 0 of them" in item.message


def test_a_search_that_takes_too_long_is_not_begun_for_drift(of_task, monkeypatch):
    edit_recipe(of_task / "circuits/truth.json", method="exact", method_settings={})
    monkeypatch.setattr("circuitkit.contracts.drift.FIND_LIMIT", 0.0)
    drift = 'drift = { baseline = "circuits/truth.json", min_jaccard = 0.5 }'
    item = truth_result(of_task, drift)
    assert item.outcome == NOT_JUDGED
    assert "finding it once more takes too long" in item.message
    monkeypatch.undo()
    assert truth_result(of_task, drift).outcome == HOLDS


# a task of one's own that does anything

TASK = """
import sys
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task


class Mine(Task):
    name = "mine"

    def pairs(self, rng):
        {body}


{top}
"""


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("sys.exit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise RecursionError", "RecursionError"),
    ],
)
@pytest.mark.parametrize("where", ["body", "top"])
def test_a_task_that_ends_the_program_is_not_judged_and_the_others_are(project, body, name, where):
    parts = {"body": "yield", "top": ""} | {where: body}
    (project / "mine.py").write_text(TASK.format(**parts))
    text = 'circuit = "circuits/toy.json"\nmodel = "toy"\nname = "mine"\ntask = "mine.py:Mine"\n'
    contracts = read_contracts(
        write(project, text + "max_edges = 999", BASE + "faithfulness = { min = -5 }")
    )
    mine, toy = check_contracts(contracts)
    assert mine.items[0].outcome == NOT_JUDGED
    assert f"without error, got {name}" in mine.items[0].message
    assert toy.items[0].outcome == HOLDS
    assert outcome_of_contracts([mine, toy]) == NOT_JUDGED


def test_no_exception_of_a_task_can_speak_to_the_ci_host_or_the_terminal(project):
    body = "raise ValueError('a\\n::warning::pwned\\x1b[31m ##[error]x')"
    (project / "mine.py").write_text(TASK.format(body=body, top=""))
    text = 'circuit = "circuits/toy.json"\nmodel = "toy"\ntask = "mine.py:Mine"\nmax_edges = 9'
    [result] = check_contracts(read_contracts(write(project, text)))
    [item] = result.items
    assert item.outcome == NOT_JUDGED
    assert "pwned" in item.message
    assert "\x1b" not in item.message
    assert "\n" not in item.message
    assert "##[" not in item.message
