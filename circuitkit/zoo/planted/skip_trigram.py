"""Skip trigrams in one attention layer, with their known bug.

"keep ... in -> mind" and "keep ... at -> bay" cannot be had without "keep ... in -> bay" and
"keep ... at -> mind": `mover` attends from `in` or `at` to the verb, and what it writes depends on
the verb alone. Only the direct path, from the last word to the logits, tells the two apart.
Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", section on skip-trigrams.
"""

import torch

from circuitkit.zoo.planted.blueprint import OUT, TOKEN, Blueprint, Copy, Head, TokenMatch
from circuitkit.zoo.planted.induction import START, rest_on_start

# (verb, its word after `in`, its word after `at`)
PHRASES = (("keep", "mind", "bay"), ("fall", "love", "odds"), ("stay", "touch", "home"))
LINKS = ("in", "at")
NEUTRAL = "of"  # a last word from which no verb is looked for
FILLERS = ("it", "them", "now", "well", "much", "us")
VOCABULARY = (
    START,
    *(verb for verb, *_ in PHRASES),
    *(word for _, *words in PHRASES for word in words),
    *LINKS,
    NEUTRAL,
    *FILLERS,
)
N_POS = 6
STRENGTH = 6.0
WRITE = 6.0


def skip_trigram() -> Blueprint:
    """Return the model."""
    n, ids = len(VOCABULARY), {word: i for i, word in enumerate(VOCABULARY)}
    verbs = [ids[verb] for verb, *_ in PHRASES]
    finds = torch.zeros(n, n, dtype=torch.float64)
    of_verb = torch.zeros(n, n, dtype=torch.float64)
    direct = torch.zeros(n, n, dtype=torch.float64)
    for link, place in zip(LINKS, (1, 2), strict=True):
        finds[ids[link], verbs] = STRENGTH
        for phrase in PHRASES:
            of_verb[ids[phrase[0]], ids[phrase[place]]] = 1.0
            direct[ids[link], ids[phrase[place]]] = WRITE / 2
    mover = Head(
        "mover",
        0,
        (TokenMatch(TOKEN, TOKEN, finds), rest_on_start(n)),
        (Copy(TOKEN, OUT, WRITE * of_verb),),
    )
    truth = (
        "input->mover<q>",
        "input->mover<k>",
        "input->mover<v>",
        "mover->logits",
        "input->logits",
    )
    return Blueprint(
        name="planted-skip-trigram",
        task="planted-skip-trigram",
        words=VOCABULARY,
        n_pos=N_POS,
        n_layers=1,
        n_heads=4,
        spaces={},
        truth=truth,
        mover="mover",
        heads=(mover,),
        direct=direct,
        answers_of=of_verb,
    )
