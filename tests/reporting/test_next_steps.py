"""What is offered where a verdict is not "supported"."""

from dataclasses import replace

import pytest

from circuitkit.circuits.recipe import PairsRecipe
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.next_steps import MOST, next_steps, with_options
from circuitkit.study.records import RunRecord
from circuitkit.validation.criteria import default_bounds
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.verdict import Finding, check_of, reach_verdict, unmeasured
from tests.reporting.conftest import near

BOUNDS = default_bounds()


@pytest.fixture
def judged(record):
    """Return a function that returns the record with other checks, and another command."""

    def judged(*checks, command="circuitkit run toy --edges 6", **selection) -> RunRecord:
        verdict = reach_verdict(checks, "it keeps something")
        recipe = record.circuit.provenance.recipe
        origin = replace(
            record.circuit.provenance,
            recipe=replace(recipe, selection=replace(recipe.selection, n_edges=6, **selection)),
        )
        return replace(
            record,
            info=replace(record.info, command=command, n_clusters=record.info.n_validation),
            circuit=replace(record.circuit, provenance=origin),
            validation=replace(record.validation, verdict=verdict, faithfulness=()),
        )

    return judged


def check(name, low, high, n=40):
    return check_of(name, Finding(Estimate((low + high) / 2, low, high, n)), BOUNDS[name])


def commands(record):
    return [step.command for step in next_steps(record)]


def test_what_is_supported_is_to_be_kept_and_nothing_to_be_settled(judged):
    [step] = next_steps(judged(check("faithfulness", 0.9, 1.0)))
    assert "contract" in step.says
    assert step.command == ""


def test_an_interval_that_holds_its_bound_asks_for_as_many_pairs_as_decide(judged):
    """From 0.75 to 0.95 around 0.85, 0.05 above 0.8: four times the 40 pairs."""
    [step] = next_steps(judged(check("faithfulness", 0.75, 0.95)))
    assert step.says == "More pairs: about 200 to judge by would decide faithfulness."
    assert step.command == "circuitkit run toy --edges 6 --n 150"  # 30 found what 40 judge


def test_minimality_that_is_not_shown_asks_for_twice_as_many(judged):
    [step] = next_steps(judged(check("minimality", 0.5, 1.0)))
    assert "about 100 to judge by would decide minimality" in step.says


def test_no_number_of_pairs_is_offered_that_nobody_would_draw(judged):
    assert next_steps(judged(check("faithfulness", 0.6, 1.001))) == ()


def test_too_few_pairs_for_a_criterion_ask_for_as_many_as_it_takes(judged):
    few = unmeasured("minimality", BOUNDS["minimality"], "too few pairs: 20, 32 are needed")
    record = judged(few)
    record = replace(record, info=replace(record.info, n_clusters=20, n_validation=20))
    [step] = next_steps(record)
    assert "about 50 to judge by would decide minimality" in step.says


def test_a_circuit_that_lacks_edges_is_started_from_more(judged):
    [step, other] = next_steps(judged(check("faithfulness", 0.3, 0.5)))
    assert step.says == "More edges: the circuit lacks part of the behaviour. Start from 12."
    assert step.command == "circuitkit run toy --edges 12"
    assert other.command == "circuitkit run toy --edges 6 --method exact --minimal"
    [step] = next_steps(judged(check("completeness", 0.5, 0.7)))
    assert "what takes over when parts are knocked out" in step.says


def test_another_ablation_is_named_only_where_the_circuit_does_as_well_by_it(judged):
    record = judged(check("faithfulness", 0.3, 0.5))
    others = (
        Faithfulness("mean", near(0.4), near(1), near(1), near(0), ()),
        Faithfulness("zero", near(0.9), near(1), near(1), near(0), ()),
    )
    asked = replace(record, validation=replace(record.validation, faithfulness=others))
    assert "circuitkit run toy --edges 6 --ablation zero" in commands(asked)
    others = (replace(others[1], value=near(0.8)),)
    asked = replace(record, validation=replace(record.validation, faithfulness=others))
    assert not any("--ablation" in command for command in commands(asked))


def test_idle_edges_are_trimmed_or_scored_otherwise(judged):
    idle = check("minimality", 0.2, 0.4)
    assert commands(judged(idle)) == ["circuitkit run toy --edges 6 --minimal"]
    tried = judged(idle, minimal=True)
    assert commands(tried) == ["circuitkit run toy --edges 6 --method exact --minimal"]


def test_a_model_that_cannot_do_it_comes_first(judged):
    record = judged(check("faithfulness", 0.3, 0.5), check("ability-share", 0.1, 0.3))
    assert commands(record)[0] == "circuitkit models --task toy"


def test_kinds_of_prompts_that_fail_are_a_step_without_a_command(judged):
    steps = next_steps(judged(check("faithfulness", 0.9, 1.0), check("hold-out", 0.2, 0.4)))
    assert "Give the task more wordings" in steps[-1].says
    assert steps[-1].command == ""


def test_steps_are_few(judged):
    names = ("ability-share", "faithfulness", "hold-out", "random")
    record = judged(
        *(check(name, -0.4, -0.2) for name in names),
        check("completeness", 0.35, 0.45),
        check("minimality", 0.2, 0.4),
    )
    assert len(next_steps(record)) == MOST


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("circuitkit run ioi", "circuitkit run ioi --n 5"),
        ("circuitkit run ioi --n 100 -o out", "circuitkit run ioi --n 5"),
        ("circuitkit run ioi --n=100 --output=out", "circuitkit run ioi --n 5"),
        ("circuitkit run ioi --name mine --budget 9min", "circuitkit run ioi --budget 9min --n 5"),
        ("circuitkit run --prompts 'a b.jsonl'", "circuitkit run --prompts 'a b.jsonl' --n 5"),
        ("circuitkit run run.toml", ""),
        ("circuitkit validate a.json", ""),
        ("", ""),
    ],
)
def test_options_are_set_once_and_the_old_run_stays(command, expected):
    assert with_options(command, ("--n", "5")) == expected


def test_another_method_takes_neither_the_budget_nor_the_settings_of_the_old_one():
    """`run` refuses both: the step would end in an error."""
    for old in ("--budget 10min", "--method eap-ig --set steps=9 --set rule=midpoint"):
        command = with_options(f"circuitkit run ioi {old} --n 9", ("--method", "exact"))
        assert command == "circuitkit run ioi --n 9 --method exact"


def of_pairs(record, **pairs):
    """Return the record of pairs that were drawn otherwise."""
    recipe = replace(record.info.recipe, pairs=PairsRecipe(**pairs))
    return replace(record, info=replace(record.info, recipe=recipe))


def test_prompts_of_a_file_are_not_multiplied_by_an_option(judged):
    few = of_pairs(judged(check("faithfulness", 0.75, 0.95)), prompts="a.jsonl")
    [step] = next_steps(few)
    assert step.says.endswith("would decide faithfulness. Add prompts to the file.")
    assert step.command == ""
    unable = of_pairs(judged(check("ability-share", 0.1, 0.3)), prompts="a.jsonl")
    assert commands(unable) == [""]


def test_a_task_of_a_file_is_named_as_it_is_typed(judged):
    unable = of_pairs(judged(check("ability-share", 0.1, 0.3)), task="my task.py:Mine")
    assert commands(unable) == ["circuitkit models --task 'my task.py:Mine'"]


def test_flags_are_not_doubled():
    assert with_options("circuitkit run a --minimal --n 3", ("--minimal", "")) == (
        "circuitkit run a --n 3 --minimal"
    )
