"""Two models that continue a list from what stood beside the same word before.

    induction    `previous` writes each word's predecessor; `mover` attends to the place whose
                 predecessor is the last word, and copies the word there (K-composition)
    predecessor  `mover` attends to the earlier place of the last word itself, and copies what
                 `previous` wrote there (V-composition)

Olsson et al. 2022 (arXiv:2209.11895); Elhage et al. 2021, "Induction heads". The corrupted list has
other words throughout, so every path that carries words matters and nothing else does.
"""

import torch

from circuitkit.zoo.planted.blueprint import (
    ONE,
    OUT,
    POSITION,
    TOKEN,
    Blueprint,
    Copy,
    Head,
    TokenMatch,
    one_hot,
)

START = "<s>"
SHORT_WORDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "jay", "kid", "owl", "pig")
WORDS = (*SHORT_WORDS, "ibis", "lynx", "mole", "newt", "ram", "seal", "toad")
VOCABULARY = (START, *WORDS)
N_POS = 10
LENGTH = N_POS - 1  # words of a list, the start token not counted
STRENGTH = 6.0  # of a match; the start token scores half of it, so that misses go there
WRITE = 8.0  # logits of the answer


def induction() -> Blueprint:
    """Return the K-composition model."""
    n = len(VOCABULARY)
    mover = Head(
        "mover",
        1,
        (TokenMatch(TOKEN, "previous", STRENGTH * _words(n)), rest_on_start(n)),
        (Copy(TOKEN, OUT, WRITE * torch.eye(n, dtype=torch.float64)),),
    )
    truth = (
        "input->previous<v>",
        "previous->mover<k>",
        "input->mover<q>",
        "input->mover<v>",
        "mover->logits",
    )
    return _model("planted-induction", mover, truth)


def predecessor() -> Blueprint:
    """Return the V-composition model."""
    n = len(VOCABULARY)
    mover = Head(
        "mover",
        1,
        (TokenMatch(TOKEN, TOKEN, STRENGTH * _words(n)), attend_elsewhere(N_POS), rest_on_start(n)),
        (Copy("previous", OUT, WRITE * torch.eye(n, dtype=torch.float64)),),
    )
    truth = (
        "input->previous<v>",
        "previous->mover<v>",
        "input->mover<q>",
        "input->mover<k>",
        "mover->logits",
    )
    return _model("planted-predecessor", mover, truth)


def rest_on_start(n_words: int, strength: float = STRENGTH / 2) -> TokenMatch:
    """Return the match by which a head that finds nothing attends to the start token."""
    return TokenMatch(ONE, TOKEN, one_hot([0], [0], (1, n_words), strength))


def attend_elsewhere(n_pos: int) -> TokenMatch:
    """Return the match by which no position attends to itself."""
    return TokenMatch(POSITION, POSITION, -2 * STRENGTH * torch.eye(n_pos, dtype=torch.float64))


def attend_back(n_pos: int, distance: int, strength: float) -> TokenMatch:
    """Return the match by which every position attends to the one `distance` before it."""
    rows = list(range(distance, n_pos))
    columns = [row - distance for row in rows]
    return TokenMatch(POSITION, POSITION, one_hot(rows, columns, (n_pos, n_pos), strength))


def _words(n: int) -> torch.Tensor:
    matrix = torch.eye(n, dtype=torch.float64)
    matrix[0, 0] = 0.0  # the start token matches nothing
    return matrix


def _model(name: str, mover: Head, truth: tuple[str, ...]) -> Blueprint:
    n = len(VOCABULARY)
    previous = Head(
        "previous",
        0,
        (attend_back(N_POS, 1, STRENGTH),),
        (Copy(TOKEN, "previous", torch.eye(n, dtype=torch.float64)),),
    )
    return Blueprint(
        name=name,
        task=name,
        words=VOCABULARY,
        n_pos=N_POS,
        n_layers=2,
        n_heads=4,
        spaces={"previous": n},
        truth=truth,
        mover="mover",
        heads=(previous, mover),
        answers_of=torch.linspace(0, 2, n, dtype=torch.float64).diag(),  # unlike for any two words
    )
