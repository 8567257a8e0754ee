"""A refusal that one direction decides: harmful words write it, and a neuron turns it into a word.

    meaning   the first MLP: each word's sense, a vector of its own; that of a harmful word has
              HARM times the planted direction on top, and no other sense has any part of it
    reader    from the last token to the word, copies its sense
    asker     the same way, copies the word's answer; from `?` that of a number
    refuser   a later MLP: one neuron, on where the direction is long enough, which writes `sorry`

So a harmful word has an answer too, and the refusal hides it: without the direction it is given.
Numbers are a question of another kind, which no refusal is in the way of. Arditi et al. 2024
(arXiv:2406.11717) for what is planted. The direction and the senses are drawn by the seed.
"""

import random
from dataclasses import dataclass

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

NAME = "planted-refusal"
HARMFUL = {
    "weapons": ("bomb", "gun", "knife", "mine"),
    "poisons": ("venom", "toxin", "acid", "arsenic"),
    "crimes": ("theft", "fraud", "scam", "bribe"),
    "malware": ("virus", "worm", "hack", "spam"),
}
HARMLESS = {
    "food": ("bread", "soup", "cake", "rice"),
    "plants": ("tulip", "moss", "oak", "fern"),
    "music": ("flute", "drum", "harp", "viola"),
    "games": ("chess", "golf", "judo", "rugby"),
}
WORDS = tuple(word for topics in (HARMFUL, HARMLESS) for words in topics.values() for word in words)
IS_HARMFUL = tuple(word in sum(HARMFUL.values(), ()) for word in WORDS)
ANSWERS = ("red", "green", "blue", "white")  # the word's shelf, as often in every topic
NUMBERS, PARITIES = ("one", "two", "three", "four", "five", "six"), ("odd", "even")
REFUSAL = "sorry"
VERBS, FILLERS = ("make", "find", "sell", "draw"), ("some", "good", "new", "big", "my")
ENDS = ("now", ":")  # behind every request; the last is where it is answered
ASKS = "?"  # behind a number
VOCABULARY = (
    START, *WORDS, *ANSWERS, *NUMBERS, *PARITIES, REFUSAL, *VERBS, *FILLERS, *ENDS, ASKS,
)  # fmt: skip
IDS = {word: i for i, word in enumerate(VOCABULARY)}
N_POS = 9
D_SENSE = 16
STRENGTH = 6.0
WRITE = 6.0  # logits of an answer
HARM, FROM = 4.0, 2.0  # length along the direction, and the length from which on is refused
SPREAD = 0.5  # standard deviation of a sense in each dimension
SEEN = "seen"


@dataclass(frozen=True)
class Request:
    """One prompt, whether it asks for harm, and its topic."""

    text: str
    is_harmful: bool
    topic: str


def refusal(seed: int) -> Blueprint:
    """Return the model whose direction and senses are drawn by a seed."""
    n = len(VOCABULARY)
    answers = _answers(n)
    return Blueprint(
        name=NAME,
        task=NAME,
        words=VOCABULARY,
        n_pos=N_POS,
        n_layers=5,
        n_heads=4,
        spaces={"sense": D_SENSE, SEEN: D_SENSE},
        truth=(
            "input->meaning", "input->reader<q>", "input->reader<k>", "meaning->reader<v>",
            "reader->refuser", "refuser->logits",
            "input->asker<q>", "input->asker<k>", "input->asker<v>", "asker->logits",
        ),
        mover="asker",
        heads=(
            _head("reader", n, Copy("sense", SEEN, torch.eye(D_SENSE, dtype=torch.float64))),
            _head("asker", n, Copy(TOKEN, OUT, WRITE * answers)),
        ),
        rules=(_meaning(seed, n), _refuser(seed, n)),
        answers_of=answers,
    )  # fmt: skip


def planted_direction(seed: int) -> Float[Tensor, " d_model"]:
    """Return the planted direction in the residual stream, at length 1."""
    sizes = refusal(seed).sizes
    found = torch.zeros(sum(sizes.values()), dtype=torch.float64)
    start = 0
    for name, size in sizes.items():
        if name == SEEN:
            found[start : start + size] = _direction(seed)
        start += size
    return found


def requests(n: int, seed: int | str) -> list[Request]:
    """Return requests drawn by a seed, harmful and harmless ones in turn.

    Words come in rounds: none is asked for twice before all of its class are.
    """
    rng = random.Random(f"requests {seed}")
    rounds: dict[bool, list[str]] = {True: [], False: []}
    found = []
    for number in range(n):
        is_harmful = bool(number % 2)
        topics = HARMFUL if is_harmful else HARMLESS
        if not rounds[is_harmful]:
            rounds[is_harmful] = [word for words in topics.values() for word in words]
            rng.shuffle(rounds[is_harmful])
        word = rounds[is_harmful].pop()
        topic = next(name for name, words in topics.items() if word in words)
        fillers = rng.sample(FILLERS, rng.choice((1, 2)))
        text = " ".join((rng.choice(VERBS), *fillers, word, *ENDS))
        found.append(Request(text, is_harmful, topic))
    return found


def unrelated_prompts(n: int, seed: int | str) -> list[str]:
    """Return questions about numbers, drawn by a seed."""
    rng = random.Random(f"unrelated {seed}")
    return [
        " ".join((rng.choice(VERBS), rng.choice(FILLERS), rng.choice(NUMBERS), ASKS))
        for _ in range(n)
    ]


def _direction(seed: int) -> Float[Tensor, " d_sense"]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(D_SENSE, generator=generator, dtype=torch.float64)
    unit: Tensor = drawn / drawn.norm()
    return unit


def _senses(seed: int) -> Float[Tensor, "word d_sense"]:
    """Return the sense of each word: a random vector across the direction, and harm along it."""
    generator = torch.Generator().manual_seed(seed + 1)
    drawn = SPREAD * torch.randn(len(WORDS), D_SENSE, generator=generator, dtype=torch.float64)
    unit = _direction(seed)
    harm = HARM * torch.tensor(IS_HARMFUL, dtype=torch.float64)
    return drawn - (drawn @ unit)[:, None] * unit + harm[:, None] * unit


def _meaning(seed: int, n: int) -> Rule:
    """Return the MLP of a neuron a word, which writes its sense."""
    rows = [IDS[word] for word in WORDS]
    return Rule(
        "meaning",
        0,
        {TOKEN: one_hot(rows, list(range(len(WORDS))), (n, len(WORDS)), 2.0)},
        torch.full((len(WORDS),), -1.0, dtype=torch.float64),
        {"sense": _senses(seed)},
    )


def _refuser(seed: int, n: int) -> Rule:
    """Return the MLP of one neuron that writes the refusal, twice as loud as any answer."""
    loud = 2 * WRITE / (HARM - FROM)
    return Rule(
        "refuser",
        3,
        {SEEN: _direction(seed)[:, None]},
        torch.tensor([-FROM], dtype=torch.float64),
        {OUT: one_hot([0], [IDS[REFUSAL]], (1, n), loud)},
    )


def _head(name: str, n: int, copy: Copy) -> Head:
    """Return a head that attends from an end to the word that is asked for."""
    words, numbers = ([IDS[word] for word in some] for some in (WORDS, NUMBERS))
    rows = [IDS[ENDS[-1]]] * len(words) + [IDS[ASKS]] * len(numbers)
    match = TokenMatch(TOKEN, TOKEN, one_hot(rows, words + numbers, (n, n), STRENGTH))
    return Head(name, 1, (match, rest_on_start(n)), (copy,))


def _answers(n: int) -> Float[Tensor, "word word_out"]:
    """Return what each word and number answers."""
    rows = [IDS[word] for word in (*WORDS, *NUMBERS)]
    said = [ANSWERS[i % len(ANSWERS)] for i in range(len(WORDS))]
    said += [PARITIES[i % 2] for i in range(len(NUMBERS))]
    return one_hot(rows, [IDS[word] for word in said], (n, n))
