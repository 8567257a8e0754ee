"""Is the first of two two-digit numbers the larger one?

    first_tens, first_ones, second_tens, second_ones   bring the digits to the last word
    digits   the first MLP: is one digit larger than its partner, for tens and for ones
    decision the second MLP: tens decide, and ones where tens are equal

The heads find digits by position, so their queries and keys carry nothing that differs between the
two prompts. Cf. the greater-than circuit of Hanna et al. 2023 (arXiv:2305.00586).
"""

from dataclasses import replace

import torch

from circuitkit.zoo.planted.blueprint import (
    OUT,
    POSITION,
    TOKEN,
    Blueprint,
    Copy,
    Head,
    Rule,
    TokenMatch,
    one_hot,
)
from circuitkit.zoo.planted.induction import START, rest_on_start

DIGITS = tuple(str(digit) for digit in range(10))
VOCABULARY = (START, *DIGITS, "vs", "?", "larger", "smaller", "so")
N_POS = 8
PLACES = {"first_tens": 1, "first_ones": 2, "second_tens": 4, "second_ones": 5}  # in the prompt
LAST = 6
STRENGTH = 8.0
WRITE = 4.0
SIGNS = ("tens_more", "tens_less", "ones_more", "ones_less")


def comparison() -> Blueprint:
    """Return the model."""
    n = len(VOCABULARY)
    truth = [f"input->{name}<v>" for name in PLACES] + [f"{name}->digits" for name in PLACES]
    truth += ["digits->decision", "decision->logits"]
    return Blueprint(
        name="planted-comparison",
        task="planted-comparison",
        words=VOCABULARY,
        n_pos=N_POS,
        n_layers=2,
        n_heads=6,
        spaces={**dict.fromkeys(PLACES, 1), **dict.fromkeys(SIGNS, 1)},
        truth=tuple(truth),
        mover="decision",
        heads=tuple(gather(name, name, place, LAST) for name, place in PLACES.items()),
        rules=(_digits(), decision("decision", 1)),
        answers_of=_sides(n),
    )


def gather(name: str, space: str, place: int, last: int) -> Head:
    """Return the head that brings the digit at `place` to position `last`, as a number."""
    n = len(VOCABULARY)
    value = torch.zeros(n, 1, dtype=torch.float64)
    for digit in DIGITS:
        value[VOCABULARY.index(digit), 0] = float(digit)
    looks = one_hot([last], [place], (N_POS, N_POS), STRENGTH)
    return Head(name, 0, (TokenMatch(POSITION, POSITION, looks),), (Copy(TOKEN, space, value),))


def _digits() -> Rule:
    """relu(d) - relu(d - 1), which is 0 or 1 for whole d, for each sign of both differences."""
    reads: dict[str, torch.Tensor] = {}
    for name, kind in (("tens", 0), ("ones", 4)):
        signs = torch.tensor([[1.0, 1.0, -1.0, -1.0]], dtype=torch.float64)
        for which, sign in (("first", 1.0), ("second", -1.0)):
            weights = torch.zeros(1, 8, dtype=torch.float64)
            weights[:, kind : kind + 4] = sign * signs
            reads[f"{which}_{name}"] = weights
    bias = torch.tensor([0.0, -1.0] * 4, dtype=torch.float64)
    writes = {}
    for i, sign_name in enumerate(SIGNS):
        column = torch.zeros(8, 1, dtype=torch.float64)
        column[2 * i], column[2 * i + 1] = 1.0, -1.0
        writes[sign_name] = column
    return Rule("digits", 0, reads, bias, writes)


def decision(name: str, layer: int, strength: float = WRITE) -> Rule:
    """Return the rule that tens decide, and ones where neither tens digit is larger."""
    wants = {
        "tens_more": [1.0, -1.0, 0.0, -1.0],
        "tens_less": [0.0, -1.0, 1.0, -1.0],
        "ones_more": [0.0, 1.0, 0.0, 0.0],
        "ones_less": [0.0, 0.0, 0.0, 1.0],
    }
    reads = {space: torch.tensor([row], dtype=torch.float64) for space, row in wants.items()}
    larger, smaller = (VOCABULARY.index(word) for word in ("larger", "smaller"))
    n = len(VOCABULARY)
    out = one_hot([0, 1], [larger, larger], (4, n), strength)
    out += one_hot([2, 3], [smaller, smaller], (4, n), strength)
    return Rule(name, layer, reads, torch.zeros(4, dtype=torch.float64), {OUT: out})


def _sides(n: int) -> torch.Tensor:
    """Digits speak for `larger` by their size: what the opposed pair of a difficulty writes."""
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for digit in DIGITS:
        matrix[VOCABULARY.index(digit), VOCABULARY.index("larger")] = float(digit) / 18
    return matrix


def with_two_layouts(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with own heads for prompts that begin one word later."""
    heads, truth = [], [edge for edge in blueprint.truth if "input" not in edge]
    truth = [edge for edge in truth if edge.partition("->")[0] not in PLACES]
    for part, shift in (("near", 0), ("far", 1)):
        for name, place in PLACES.items():
            head = gather(f"{name}_{part}", name, place + shift, LAST + shift)
            heads.append(replace(head, matches=(*head.matches, rest_on_start(len(VOCABULARY)))))
            truth += [f"input->{head.name}<v>", f"{head.name}->digits"]
    return replace(
        blueprint,
        task="planted-comparison-shifted",
        n_heads=len(heads),
        heads=tuple(heads),
        truth=tuple(truth),
    )


def decision_and_repair(blueprint: Blueprint) -> tuple[Rule, Rule]:
    """Return the decision, which also tells what it said, and a later rule that mends it.

    The repair writes what the decision should be, less what was said: nothing, where all is well.
    """
    main = next(rule for rule in blueprint.rules if rule.name == blueprint.mover)
    sides = one_hot([0, 1, 2, 3], [0, 0, 1, 1], (4, 2))
    main = replace(main, writes={**main.writes, "done": sides})
    n = len(VOCABULARY)
    takes_back = one_hot([0], [VOCABULARY.index("larger")], (2, n), -WRITE)
    takes_back += one_hot([1], [VOCABULARY.index("smaller")], (2, n), -WRITE)
    reads = {space: torch.cat([x, torch.zeros(1, 2)], 1) for space, x in main.reads.items()}
    reads["done"] = torch.cat([torch.zeros(2, 4), torch.eye(2)], 1).double()
    return main, Rule(
        "backup",
        main.layer + 1,
        reads,
        torch.zeros(6, dtype=torch.float64),
        {OUT: torch.cat([main.writes[OUT], takes_back])},
    )
