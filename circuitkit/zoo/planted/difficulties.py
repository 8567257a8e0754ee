"""What makes a planted circuit hard to find. Each takes a blueprint and gives a harder one.

    plain         as it is
    decoys        in every layer a head, and in every MLP neurons, that are active and write where
                  nobody who matters reads; one logit that no answer uses moves with them
    backup        a second mover a layer later, silent while the first one works: what it would copy
                  is struck out where it was copied already
    cancellation  a head whose words two others write to the logits, one with the opposite sign, so
                  that their common input has no effect as long as both are there
    positions     the mover's work is split between two heads, each for its part of the positions
    noise         Gaussian noise on every weight

Backup and cancellation have the same noise: without it whatever does not matter has an effect of
exactly zero, and the smallest rounding would tell it from what does.

The truth counts an edge if removing it changes the metric in some state of the other components:
backups and cancelling parts belong to it. What is silent in every state does not.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from circuitkit.zoo.planted import comparison
from circuitkit.zoo.planted.blueprint import (
    ONE,
    OUT,
    POSITION,
    TOKEN,
    Blueprint,
    Copy,
    Head,
    Rule,
    TokenMatch,
)
from circuitkit.zoo.planted.induction import STRENGTH, rest_on_start

NOISY = ("backup", "cancellation", "noise")
NOISE = 0.005  # standard deviation on every weight, where a copy's weight is 1
N_JUNK = 8
STRIKE_OUT = 2 * STRENGTH
OPPOSED = 2.0  # logits that each of two cancelling heads writes for a word that makes up the prompt

Difficulty = Callable[[Blueprint, random.Random], Blueprint]


def plain(blueprint: Blueprint, rng: random.Random) -> Blueprint:
    """Return the blueprint as it is."""
    return blueprint


def with_decoys(blueprint: Blueprint, rng: random.Random) -> Blueprint:
    """Return the blueprint with active parts that do not matter."""
    n = len(blueprint.words)
    layers = range(blueprint.n_layers)
    heads = tuple(_decoy_head(layer, n, rng) for layer in layers)
    rules = tuple(_decoy_rule(layer, n, rng) for layer in layers if blueprint.has_mlps)
    return replace(
        blueprint,
        spaces={**blueprint.spaces, "junk": N_JUNK},
        heads=blueprint.heads + heads,
        rules=blueprint.rules + rules,
    )


def with_backup(blueprint: Blueprint, rng: random.Random) -> Blueprint:
    """Return the blueprint with a second mover that takes over when the first one fails."""
    edges = [edge for edge in blueprint.truth if blueprint.mover in _ends(edge)]
    copied = [edge.replace(blueprint.mover, "backup") for edge in edges]
    # it looks where the mover's content stands, to see whether that was copied already
    looked = [edge.replace("<v>", "<k>") for edge in copied if edge.endswith("backup<v>")]
    copied += [edge for edge in looked if edge not in copied]
    if any(rule.name == blueprint.mover for rule in blueprint.rules):
        return _with_repair(blueprint, copied)
    mover = blueprint.head(blueprint.mover)
    content = mover.copies[0]
    weights = (content.weights.abs().sum(1) > 0).to(torch.float64).diag()
    tells = replace(mover, copies=(*mover.copies, Copy(content.read, "done", weights)))
    strikes = TokenMatch("done", content.read, -STRIKE_OUT * weights)
    backup = Head("backup", blueprint.n_layers, (*mover.matches, strikes), mover.copies)
    others = tuple(head for head in blueprint.heads if head.name != mover.name)
    return replace(
        blueprint,
        n_layers=blueprint.n_layers + 1,
        spaces={**blueprint.spaces, "done": len(weights)},
        heads=(*others, tells, backup),
        truth=(*blueprint.truth, *copied, f"{mover.name}->backup<q>"),
    )


def with_cancellation(blueprint: Blueprint, rng: random.Random) -> Blueprint:
    """Return the blueprint with two heads that write the opposite of each other."""
    n = len(blueprint.words)
    answers = torch.eye(n, dtype=torch.float64)
    if blueprint.answers_of is not None:
        answers = blueprint.answers_of
    itself = TokenMatch(
        POSITION, POSITION, STRENGTH * torch.eye(blueprint.n_pos, dtype=torch.float64)
    )
    strength = (OPPOSED * blueprint.n_pos) ** 0.5  # half of it here, half of it behind
    bag = Head("bag", 0, (), (Copy(TOKEN, "bag", strength * torch.eye(n, dtype=torch.float64)),))
    opposed = tuple(
        Head(name, 1, (itself,), (Copy("bag", OUT, sign * strength * answers),))
        for name, sign in (("praise", 1.0), ("blame", -1.0))
    )
    added = ["input->bag<v>"]
    for head in opposed:
        added += [f"bag->{head.name}<v>", f"{head.name}->logits"]
    return replace(
        blueprint,
        n_layers=max(2, blueprint.n_layers),
        spaces={**blueprint.spaces, "bag": n},
        heads=(*blueprint.heads, bag, *opposed),
        truth=(*blueprint.truth, *added),
    )


def split_by_position(blueprint: Blueprint, rng: random.Random) -> Blueprint:
    """Return the blueprint with two movers, each of which sees a part of the positions."""
    if any(rule.name == blueprint.mover for rule in blueprint.rules):
        return comparison.with_two_layouts(blueprint)
    mover = blueprint.head(blueprint.mover)
    middle = blueprint.n_pos // 2
    parts = {"early": slice(middle, None), "late": slice(1, middle)}  # what each must not see
    heads = []
    for part, hidden in parts.items():
        hide = torch.zeros(1, blueprint.n_pos, dtype=torch.float64)
        hide[0, hidden] = -2 * STRENGTH
        matches = (*mover.matches, TokenMatch(ONE, POSITION, hide))
        heads.append(replace(mover, name=f"{mover.name}_{part}", matches=matches))
    others = tuple(head for head in blueprint.heads if head.name != mover.name)
    truth = []
    for edge in blueprint.truth:
        is_movers = mover.name in _ends(edge)
        names = [f"{mover.name}_{part}" for part in parts] if is_movers else [mover.name]
        truth += [edge.replace(mover.name, name) for name in names]
    return replace(blueprint, heads=(*others, *heads), truth=tuple(truth))


DIFFICULTIES: dict[str, Difficulty] = {
    "plain": plain,
    "decoys": with_decoys,
    "backup": with_backup,
    "cancellation": with_cancellation,
    "positions": split_by_position,
    "noise": plain,  # the weights get it when the model is built
}


def _ends(edge: str) -> tuple[str, str]:
    sender, _, receiver = edge.partition("->")
    return sender, receiver.partition("<")[0]


def _with_repair(blueprint: Blueprint, copied: list[str]) -> Blueprint:
    """Return the blueprint with an MLP that adds what the decision should be and is not."""
    rules = [rule for rule in blueprint.rules if rule.name != blueprint.mover]
    main, repair = comparison.decision_and_repair(blueprint)
    return replace(
        blueprint,
        n_layers=blueprint.n_layers + 1,
        spaces={**blueprint.spaces, "done": 2},
        rules=(*rules, main, repair),
        truth=(*blueprint.truth, *copied, f"{blueprint.mover}->backup"),
    )


def _decoy_head(layer: int, n: int, rng: random.Random) -> Head:
    matches = [TokenMatch(TOKEN, TOKEN, _random(n, n, rng)), rest_on_start(n)]
    copies = [Copy(TOKEN, "junk", _random(n, N_JUNK, rng)), Copy(TOKEN, OUT, _aside(n, n, rng))]
    if layer > 0:  # decoys also read each other
        matches.append(TokenMatch("junk", TOKEN, _random(N_JUNK, n, rng)))
        copies.append(Copy("junk", OUT, _aside(N_JUNK, n, rng)))
    return Head(f"decoy{layer}", layer, tuple(matches), tuple(copies))


def _decoy_rule(layer: int, n: int, rng: random.Random) -> Rule:
    reads = {TOKEN: _random(n, N_JUNK, rng), "junk": _random(N_JUNK, N_JUNK, rng)}
    writes = {"junk": _random(N_JUNK, N_JUNK, rng), OUT: _aside(N_JUNK, n, rng)}
    return Rule(f"decoy_neurons{layer}", layer, reads, torch.zeros(N_JUNK).double(), writes)


def _random(n_rows: int, n_columns: int, rng: random.Random) -> Tensor:
    size = N_JUNK**-0.5 if n_rows == N_JUNK else 1.0  # what passes junk on must not grow
    rows = [[rng.gauss(0, size) for _ in range(n_columns)] for _ in range(n_rows)]
    return torch.tensor(rows, dtype=torch.float64)


def _aside(n_rows: int, n: int, rng: random.Random) -> Tensor:
    """Return weights that move the logit of the start token, which answers nothing."""
    matrix = torch.zeros(n_rows, n, dtype=torch.float64)
    matrix[:, 0] = _random(n_rows, 1, rng)[:, 0]
    return matrix
