"""Factual recall: answers are true, and the corrupted subject has another answer."""

from circuitkit.tasks.factual_recall import FactualRecall
from circuitkit.zoo.lexicon import COUNTRIES, RELATIONS


def relation_of(pair):
    name, _, index = pair.template.rpartition("-")
    relation = next(r for r in RELATIONS if r.name == name)
    return relation, relation.paraphrases[int(index) - 1]


def test_all_relations_and_paraphrases_occur(sample):
    templates = {pair.template for pair in sample(FactualRecall().pairs, 600)}
    assert templates == {f"{r.name}-{i + 1}" for r in RELATIONS for i in range(len(r.paraphrases))}


def test_the_answers_are_those_of_the_clean_and_of_the_corrupted_subject(sample):
    for pair in sample(FactualRecall().pairs):
        relation, paraphrase = relation_of(pair)
        answers = {relation.subject(c): f" {relation.answer(c)}" for c in COUNTRIES}
        start, end = pair.roles["subject"]
        subject = pair.clean[start:end]
        corrupted_subject = pair.corrupted[start : len(pair.corrupted) - len(pair.clean) + end]
        assert pair.clean == paraphrase.format(subject=subject)
        assert pair.corrupted == paraphrase.format(subject=corrupted_subject)
        assert pair.answers == [answers[subject]]
        assert pair.wrong_answers == [answers[corrupted_subject]]
