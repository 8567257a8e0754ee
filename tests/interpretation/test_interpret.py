"""The whole interpretation, and the command that makes it."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import save_circuit
from circuitkit.cli.app import app
from circuitkit.errors import CriterionError
from circuitkit.interpretation.file import load_interpretation, save_interpretation
from circuitkit.interpretation.interpret import N_PROMPTS, interpret
from circuitkit.metrics import LogProbability
from circuitkit.zoo.planted import planted

RUNNER = CliRunner()
NAME = "planted-ioi:plain:1"


@pytest.fixture(scope="module")
def told(interpreted):
    """The interpretation of the planted truth."""
    found = interpreted(NAME)
    truth = found.instance.truth(found.case.model)
    return interpret(replace(found.case, circuit=truth), "planted-ioi")


def call(*words):
    return RUNNER.invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def circuit_file(tmp_path_factory):
    instance = planted(NAME)
    path = tmp_path_factory.mktemp("circuit") / "truth.json"
    save_circuit(instance.truth(instance.model()), path)
    return path


def test_it_says_what_each_part_does_with_everything_to_show_for_it(told, interpreted):
    names = interpreted(NAME).instance.components
    parts = {names[role] for role in ("duplicate", "inhibitor", "mover")}
    assert {card.component for card in told.cards} == parts
    assert told.card(names["mover"]).group == "movers"
    assert {group.name for group in told.groups} == {
        "duplicate-token heads", "inhibition heads", "movers"
    }  # fmt: skip
    assert len(told.prompts) == N_PROMPTS
    for view in told.prompts:
        assert set(view.patterns) == parts
        assert all(len(rows) == len(view.tokens) for rows in view.patterns.values())
        assert set(view.attributions) == parts
    assert sum(template.n for template in told.templates) == told.n_pairs
    assert [each.key for each in told.sections] == ["logit-lens", "directions"]
    assert told.sections[1].tables[0].rows
    assert told.gap.value > 4


def test_a_circuit_without_edges_has_no_parts_to_speak_of(interpreted):
    case = interpreted(NAME).case
    empty = replace(case, circuit=Circuit.empty(case.model.graph))
    with pytest.raises(CriterionError, match="interpretation: the circuit must have an edge"):
        interpret(empty, "x")


def test_what_cannot_be_measured_is_noted_not_hidden(told):
    # the prompts of this task name no role but the end, which is the same in both of a pair
    assert [note for note in told.notes if note.startswith("Causal tracing: left out. ")]
    assert all(section.key != "tracing" for section in told.sections)
    assert [each.name for each in told.sections[0].pictures] == ["logit-lens", "logit-lens-top"]


def test_it_is_saved_and_read_again(told, tmp_path):
    save_interpretation(told, tmp_path)
    assert load_interpretation(tmp_path) == told


def test_a_circuit_without_heads_has_no_patterns(interpreted):
    case = interpreted("planted-facts:decoys:0").case
    edges = ["input->m0", "m0->m1", "m1->logits"]
    bare = Circuit.of_edges(case.model.graph, edges)
    told = interpret(replace(case, circuit=bare), "planted-facts")
    assert told.templates == ()
    assert "Attention: the circuit has no heads, so there are no patterns." in told.notes
    assert [card.component for card in told.cards] == ["m0", "m1"]


def test_the_command_prints_cards_and_writes_them_whole(circuit_file, tmp_path):
    done = call("interpret", circuit_file, "--n", 64, "--ablation", "resample", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    told = load_interpretation(tmp_path)
    assert told.n_pairs == 64
    assert told.model == NAME
    for card in told.cards:
        assert f"{card.component}: {card.roles[0].name}: {card.roles[0].evidence}" in text


def test_json_is_all_that_is_printed(circuit_file):
    done = call("interpret", circuit_file, "--n", 40, "--ablation", "resample", "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.output)["cards"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", "4"], "needs at least 16 pairs, got 4"),
        (["--ablation", "nothing"], "--ablation: must be one of"),
        (["--model", "planted-ioi:plain:2"], "must be of the model at hand"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(circuit_file, words, message):
    done = call("interpret", circuit_file, *words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_run_directory_gets_its_cards_anew_whatever_lay_there(tmp_path):
    words = ("--n", 24, "--ablation", "resample")
    ran = call("run", "planted-ioi", "--model", NAME, *words, "--edges", 9, "-q", "-o", tmp_path)
    assert ran.exit_code in (0, 1, 2), ran.output
    assert load_interpretation(tmp_path) is None
    assert "inhibition heads" not in (tmp_path / "report.html").read_text()
    (tmp_path / "interpretation.json").write_text('{"schema": 0, "of": "another version"}')
    done = call("interpret", tmp_path, *words, "-q")
    assert done.exit_code == 0, done.output
    assert load_interpretation(tmp_path).groups
    assert "inhibition heads" in (tmp_path / "report.html").read_text()


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    done = call("interpret", tmp_path)
    assert done.exit_code == 2
    assert "circuit.json" in done.output


def test_a_prompt_shows_the_metric_of_the_whole_model(interpreted):
    found = interpreted(NAME)
    truth = found.instance.truth(found.case.model)
    case = replace(found.case, circuit=truth, metric=LogProbability())
    told = interpret(case, "planted-ioi")
    [whole] = case.values([Circuit.full(case.model.graph)])
    assert [view.value for view in told.prompts] == pytest.approx(whole[:N_PROMPTS].tolist())
    assert told.metric == "log-probability"
    assert whole.max() <= 0  # a logit difference would be above
