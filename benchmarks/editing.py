"""What edits of 20 facts of pico are worth, each made in the unedited model: docs/editing.md.

    python benchmarks/editing.py --methods r-rome,memit --layers 0,1

Prints one line of Markdown for each method and layer; every fact is one that the model knows.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from circuitkit.control.editing.measures import Outcome, Unedited, outcome, summary, unedited
from circuitkit.control.editing.methods import Recipe, edit_fact
from circuitkit.control.editing.questions import Questions, drawn_facts, questions_for
from circuitkit.control.editing.second_moment import measure_second_moments
from circuitkit.control.editing.value import Descent
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.lexicon import COUNTRIES, RELATIONS
from circuitkit.zoo.pico.train_dictionaries import pico_prompts

SHOWN = (
    "efficacy",
    "paraphrase",
    "paraphrase magnitude",
    "neighbourhood",
    "neighbourhood change",
    "same subject change",
    "fluency change",
    "KL on unrelated text",
)


def facts(seed: int) -> Iterator[Questions]:
    """Yield facts of the language without end: a wording, a subject, and another's answer."""
    pairs = drawn_facts(find_task("factual-recall"), seed=seed)
    rng = random.Random(seed)
    seen = set()
    while True:
        relation = rng.choice(RELATIONS)
        country, other = rng.sample(COUNTRIES, 2)
        wording = rng.choice(relation.paraphrases)
        key = relation.name, country
        if key in seen or relation.answer(country) == relation.answer(other):
            continue
        seen.add(key)
        prompt = wording.format(subject=relation.subject(country))
        yield questions_for(pairs, prompt, relation.answer(other), seed=seed)


def known(model: SubjectModel, n: int, seed: int) -> Iterator[Unedited]:
    """Yield `n` facts whose true answer is the model's first, with what it does unedited."""
    texts = pico_prompts(seed).held_out()
    found = 0
    for questions in facts(seed):
        if found == n:
            return
        base = unedited(model, questions, texts, seed=seed)
        if base.answers["efficacy"].is_first[0]:
            found += 1
            yield base


def line(name: str, layer: int, outcomes: Sequence[Outcome], refused: int) -> str:
    """Return a row of the table."""
    measures = {each.name: each for each in summary(outcomes)}
    cells = [str(measures[name]) for name in SHOWN]
    return f"| {name} | {layer} | {' | '.join(cells)} | {refused} |"


def main() -> None:
    """Edit the facts by each method in each layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="r-rome")
    parser.add_argument("--layers", default="0,1,2,3")
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = load_model("pico")
    moments = measure_second_moments(model, range(4), pico_prompts(given.seed))
    bases = tuple(known(model, given.facts, given.seed))
    print("| method | layer |", " | ".join(SHOWN), "| refused |")
    for method in given.methods.split(","):
        recipe = Recipe(method, seed=given.seed)
        if given.steps:
            recipe = replace(recipe, descent=Descent(steps=given.steps))
        for layer in map(int, given.layers.split(",")):
            outcomes, refused = [], 0
            for base in bases:
                try:
                    edit = edit_fact(model, base.questions.fact, layer, moments, recipe)
                except MethodError:
                    refused += 1
                    continue
                outcomes.append(outcome(base, edit.made(model)))
            print(line(method, layer, outcomes, refused), flush=True)


if __name__ == "__main__":
    main()
