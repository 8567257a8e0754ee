"""A planted induction circuit, asked for two words: it is found, judged and told as for one."""

from dataclasses import replace
from typing import ClassVar

import pytest

from circuitkit.bench.calibration.faults import subject_on
from circuitkit.discovery import eap
from circuitkit.interpretation.interpret import interpret
from circuitkit.prompts.pairs import PromptPair
from circuitkit.study.cases import case_of
from circuitkit.study.settings import Settings
from circuitkit.task import Task
from circuitkit.validation.controls import shuffled
from circuitkit.validation.judge import judge_circuit
from circuitkit.zoo.planted import induction, planted


class TwoWords(Task):
    """Lists that end in a word they held before, and what followed it twice."""

    name: ClassVar[str] = "two-words"

    def pairs(self, rng):
        n = induction.LENGTH - 3
        while True:
            words = rng.sample(induction.WORDS, 2 * n)
            clean, corrupted = words[:n], words[n:]
            place = rng.randrange(1, n - 2)
            wrong = rng.choice([i for i in range(n - 1) if abs(i - place - 1) > 1])
            yield PromptPair(
                clean=" ".join([*clean, clean[place]]),
                corrupted=" ".join([*corrupted, corrupted[place]]),
                answers=[" ".join(clean[place + 1 : place + 3])],
                wrong_answers=[" ".join(clean[wrong : wrong + 2])],
                template="list",
            )


@pytest.fixture(scope="module")
def case():
    instance = planted("planted-induction:plain:1")
    model = instance.model()
    subject = subject_on(model, f"{__file__}:TwoWords", 40)
    return case_of(subject, instance.truth(model), Settings(ablation="mean"))


def test_the_true_circuit_of_one_word_keeps_two(case):
    assert "answers of up to 2 tokens" in case.validation.reading
    [kept] = judge_circuit(case, Settings().thresholds, only=["faithfulness"]).checks
    assert kept.outcome == "supported", kept


def test_true_edges_score_highest_on_two_words(case):
    found = eap.score_edges(case.model, case.discovery, case.metric).by_edge()
    scores = dict(zip(case.model.graph.edge_names, found.tolist(), strict=True))
    true = set(case.circuit.edges)
    best = sorted(scores, key=lambda name: -abs(scores[name]))[: len(true)]
    assert len(true.intersection(best)) >= len(true) - 1


def test_exchanged_answers_are_whole_ones(case):
    pairs = case.discovery
    found = shuffled(pairs, 3)
    before, after = ([some.answers_of(row) for row in range(len(some))] for some in (pairs, found))
    assert sorted(map(repr, before)) == sorted(map(repr, after))
    assert before != after


def test_its_parts_are_named_and_a_note_says_what_is_of_the_first_token(case):
    told = interpret(case, "two-words")
    assert any("first token" in note for note in told.notes)
    assert {"induction movers", "previous-token heads"} <= {card.group for card in told.cards}
    assert len(told.prompts[0].answers) == 1
    assert len(told.prompts[0].answers[0].split()) == 2
    assert len(told.prompts[0].tokens) == int(case.validation.lengths[0])


def test_a_circuit_without_its_mover_is_refuted_on_two_words(case):
    lacking = case.circuit.without_edges([e for e in case.circuit.edges if e.endswith("logits")])
    other = replace(case, circuit=lacking)
    [kept] = judge_circuit(other, Settings().thresholds, only=["faithfulness"]).checks
    assert kept.outcome == "refuted"
