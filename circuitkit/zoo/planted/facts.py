"""Facts in the key-value memory of an MLP, fetched by one head a relation.

    memory          the first MLP: a neuron a subject, whose value is all that is known about it
    colour, land    attend from their own relation to the subject and copy one attribute

Geva et al. 2021 (arXiv:2012.14913) for memories, Geva et al. 2023 (arXiv:2304.14767) for enrichment
at the subject and extraction from the last word. The corrupted prompt asks for the other attribute
of another subject at another place.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.zoo.planted.blueprint import (
    OUT,
    TOKEN,
    Blueprint,
    Copy,
    Head,
    Rule,
    TokenMatch,
    one_hot,
)
from circuitkit.zoo.planted.induction import START, rest_on_start

COLOURS = ("red", "green", "blue", "white")
LANDS = ("peru", "chad", "oman", "laos")
# (subject, its colour, its land); every attribute is shared by two subjects
FACTS = tuple(
    (subject, COLOURS[i % 4], LANDS[(i // 2) % 4])
    for i, subject in enumerate(("zorb", "quill", "mard", "tiso", "venk", "lup", "brasp", "noil"))
)
RELATIONS = {"colour": COLOURS, "land": LANDS}
FILLERS = ("the", "old", "its", "very", "this")
VOCABULARY = (START, *(fact[0] for fact in FACTS), *COLOURS, *LANDS, *RELATIONS, *FILLERS)
N_POS = 7
STRENGTH = 6.0
WRITE = 8.0


IDS = {word: i for i, word in enumerate(VOCABULARY)}
SUBJECTS = [IDS[fact[0]] for fact in FACTS]
NEURONS = list(range(len(FACTS)))


def facts() -> Blueprint:
    """Return the model."""
    n = len(VOCABULARY)
    values = torch.zeros(len(FACTS), n, dtype=torch.float64)
    for neuron, (_, colour, land) in zip(NEURONS, FACTS, strict=True):
        values[neuron, [IDS[colour], IDS[land]]] = 1.0
    truth = ["input->memory"]
    for relation in RELATIONS:
        truth += [f"input->{relation}<q>", f"input->{relation}<k>"]
        truth += [f"memory->{relation}<v>", f"{relation}->logits"]
    return Blueprint(
        name="planted-facts",
        task="planted-facts",
        words=VOCABULARY,
        n_pos=N_POS,
        n_layers=2,
        n_heads=4,
        spaces={"known": n},
        truth=tuple(truth),
        mover="colour",
        heads=tuple(_head(relation, words, n) for relation, words in RELATIONS.items()),
        rules=(_memory(values),),
        answers_of=one_hot(SUBJECTS, NEURONS, (n, len(FACTS))) @ values,
    )


def _memory(values: Float[Tensor, "neuron word"]) -> Rule:
    """Return the MLP of a neuron a subject, which writes all that is known about it."""
    return Rule(
        "memory",
        0,
        {TOKEN: one_hot(SUBJECTS, NEURONS, (values.shape[1], len(FACTS)), 2.0)},
        torch.full((len(FACTS),), -1.0, dtype=torch.float64),
        {"known": values},
    )


def _head(relation: str, words: tuple[str, ...], n: int) -> Head:
    """Return the head that attends from a relation to the subject and copies that attribute."""
    return Head(
        relation,
        1,
        (TokenMatch(TOKEN, TOKEN, _row(IDS[relation], SUBJECTS, n)), rest_on_start(n)),
        (Copy("known", OUT, WRITE * _diagonal([IDS[word] for word in words], n)),),
    )


def _row(row: int, columns: list[int], n: int) -> torch.Tensor:
    return one_hot([row] * len(columns), columns, (n, n), STRENGTH)


def _diagonal(places: list[int], n: int) -> torch.Tensor:
    return one_hot(places, places, (n, n))
