"""Facts in the key-value memory of an MLP, fetched by one head a relation.

    memory          the first MLP: a neuron a subject, whose value is all that is known about it
    colour, land    attend from their own relation to the subject and copy one attribute

Geva et al. 2021 (arXiv:2012.14913) for memories, Geva et al. 2023 (arXiv:2304.14767) for enrichment
at the subject and extraction from the last word. The corrupted prompt asks for the other attribute
of another subject at another place.
"""

import torch

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


def facts() -> Blueprint:
    """Return the model."""
    n, ids = len(VOCABULARY), {word: i for i, word in enumerate(VOCABULARY)}
    subjects = [ids[fact[0]] for fact in FACTS]
    neurons = list(range(len(FACTS)))
    values = torch.zeros(len(FACTS), n, dtype=torch.float64)
    for neuron, (_, colour, land) in zip(neurons, FACTS, strict=True):
        values[neuron, [ids[colour], ids[land]]] = 1.0
    memory = Rule(
        "memory",
        0,
        {TOKEN: one_hot(subjects, neurons, (n, len(FACTS)), 2.0)},
        torch.full((len(FACTS),), -1.0, dtype=torch.float64),
        {"known": values},
    )
    heads = tuple(
        Head(
            relation,
            1,
            (
                TokenMatch(TOKEN, TOKEN, _row(ids[relation], subjects, n)),
                rest_on_start(n),
            ),
            (Copy("known", OUT, WRITE * _diagonal([ids[word] for word in words], n)),),
        )
        for relation, words in RELATIONS.items()
    )
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
        heads=heads,
        rules=(memory,),
        answers_of=one_hot(subjects, neurons, (n, len(FACTS))) @ values,
    )


def _row(row: int, columns: list[int], n: int) -> torch.Tensor:
    return one_hot([row] * len(columns), columns, (n, n), STRENGTH)


def _diagonal(places: list[int], n: int) -> torch.Tensor:
    return one_hot(places, places, (n, n))
