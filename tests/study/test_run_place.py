"""Where a run goes: never over another one that merely has its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from circuitkit.errors import OutputError
from circuitkit.metrics import LogProbability
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.statistics.bound import Bound
from circuitkit.study.run_place import UNKNOWN, identity_in, identity_of, place_of_run
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, Subject
from circuitkit.validation.criteria import Thresholds
from circuitkit.zoo import load_model
from tests.conftest import random_pairs, save_toy

SETTINGS = Settings(method="eap-ig")


@pytest.fixture(scope="module")
def subject(toy):
    splits = (tokenize_pairs(random_pairs(5, seed=seed)) for seed in range(3))
    return Subject("t", "", LogProbability(), toy, Splits(*splits))


def test_device_memory_and_what_was_typed_make_no_other_run(subject):
    typed = replace(subject, command="circuitkit run", request=Request(device="cuda"))
    how = replace(SETTINGS, memory=10, batch_size=3, checkpoint=Path("x"), anyway=True)
    assert identity_of(typed, how) == identity_of(subject, SETTINGS)
    assert len(identity_of(subject, SETTINGS)) == 8


def test_a_setting_left_at_its_default_is_the_same_run_as_one_that_says_it(subject):
    said = replace(SETTINGS, method_settings={"rule": "left", "steps": "5"})
    assert identity_of(subject, said) == identity_of(subject, SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "eap"},
        {"method_settings": {"steps": 9}},
        {"n_edges": 7},
        {"minimal": True},
        {"seed": 1},
        {"ablation": "zero"},
        {"scoring_ablation": "mean"},
        {"thresholds": Thresholds().with_bounds({"faithfulness": Bound(min=0.5)})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_may_change_the_result_makes_another_run(subject, change):
    assert identity_of(subject, replace(SETTINGS, **change)) != identity_of(subject, SETTINGS)


def test_other_pairs_another_task_or_other_weights_make_another_run(subject, tmp_path):
    save_toy(tmp_path / "hf", seed=5)
    splits = subject.splits
    others = (
        replace(subject, splits=replace(splits, validation=splits.discovery)),
        replace(subject, splits=replace(splits, discovery=splits.validation)),
        replace(subject, task="other"),
        replace(subject, model=load_model(tmp_path / "hf")),
    )
    found = {identity_of(one, SETTINGS) for one in (subject, *others)}
    assert len(found) == 5


def run_in(directory, text):
    directory.mkdir()
    (directory / "run.toml").write_text(text)
    return directory


def test_a_new_directory_and_one_of_the_same_run_are_taken(tmp_path, monkeypatch):
    assert place_of_run(tmp_path / "new", "aa", asked=False) == tmp_path / "new"
    monkeypatch.setattr("circuitkit.study.run_place.identity_in", lambda path: "aa")
    assert place_of_run(tmp_path / "new", "aa", asked=True) == tmp_path / "new"


def test_another_run_stays_where_it_is(tmp_path):
    taken = run_in(tmp_path / "a", "damaged")
    assert identity_in(taken) == UNKNOWN
    assert identity_in(tmp_path) == ""
    assert place_of_run(taken, "bb", asked=False) == tmp_path / "a--bb"
    assert place_of_run(taken, "bb", asked=False, force=True) == taken
    with pytest.raises(OutputError, match="replace it with --force"):
        place_of_run(taken, "bb", asked=True)
    run_in(tmp_path / "a--bb", "")
    with pytest.raises(OutputError, match="would be lost"):
        place_of_run(taken, "bb", asked=False)


def test_a_run_of_an_earlier_version_is_never_taken_for_the_same(tmp_path):
    text = Path(__file__).parents[2] / "reports/ioi--pico/run.toml"
    without = [line for line in text.read_text().splitlines() if not line.startswith("identity")]
    taken = run_in(tmp_path / "a", "\n".join(without))
    assert identity_in(taken) == UNKNOWN
    assert place_of_run(taken, UNKNOWN + "x", asked=False) != taken
