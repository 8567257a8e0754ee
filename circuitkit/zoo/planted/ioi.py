"""Indirect object identification by three heads.

    duplicate  attends from a name to its earlier mention and writes the name
    inhibitor  attends from the last word to the place that `duplicate` marked and writes that name
    mover      attends from the last word to names, less to the one `inhibitor` wrote, and copies

The roles are those that Wang et al. 2022 (arXiv:2211.00593, section 3) found in GPT-2 small. In the
corrupted prompt three other names occur, none twice.
"""

from circuitkit.zoo.planted.blueprint import (
    ONE,
    OUT,
    TOKEN,
    Blueprint,
    Copy,
    Head,
    TokenMatch,
    one_hot,
)
from circuitkit.zoo.planted.induction import START, attend_elsewhere, rest_on_start

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ines", "Jon", "Kim", "Leo")
VOCABULARY = (START, *NAMES, "and", "spoke", "gave", "to")
N_POS = 8
STRENGTH = 6.0
WRITE = 8.0


TRUTH = (
    "input->duplicate<q>",
    "input->duplicate<k>",
    "input->duplicate<v>",
    "duplicate->inhibitor<k>",
    "duplicate->inhibitor<v>",
    "inhibitor->mover<q>",
    "input->mover<k>",
    "input->mover<v>",
    "mover->logits",
)


def ioi() -> Blueprint:
    """Return the model."""
    n = len(VOCABULARY)
    return Blueprint(
        name="planted-ioi",
        task="planted-ioi",
        words=VOCABULARY,
        n_pos=N_POS,
        n_layers=3,
        n_heads=4,
        spaces={"duplicate": n, "inhibited": n},
        truth=TRUTH,
        mover="mover",
        heads=_heads(n),
    )


def _heads(n: int) -> tuple[Head, ...]:
    names = list(range(1, 1 + len(NAMES)))
    of_names = one_hot(names, names, (n, n))
    every_name = one_hot([0] * len(names), names, (1, n))
    duplicate = Head(
        "duplicate",
        0,
        (TokenMatch(TOKEN, TOKEN, STRENGTH * of_names), attend_elsewhere(N_POS), rest_on_start(n)),
        (Copy(TOKEN, "duplicate", of_names),),
    )
    inhibitor = Head(
        "inhibitor",
        1,
        (TokenMatch(ONE, "duplicate", STRENGTH * every_name), rest_on_start(n)),
        (Copy("duplicate", "inhibited", of_names),),
    )
    mover = Head(
        "mover",
        2,
        (
            TokenMatch("inhibited", TOKEN, -STRENGTH * of_names),
            TokenMatch(ONE, TOKEN, STRENGTH * every_name),
            rest_on_start(n),
        ),
        (Copy(TOKEN, OUT, WRITE * of_names),),
    )
    return duplicate, inhibitor, mover
