"""The words of a story: where a head looks, and what a component does, with the example's tokens.

A verb stands in braces, `{push} it down`, and is set to its subject by `conjugated`. What works
against the answer is said to.
"""

import re
from collections.abc import Sequence

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import Card, Role
from circuitkit.interpretation.roles.attention import (
    ANSWER,
    AT,
    DUPLICATE,
    FIRST,
    INDUCTION,
    POSITIONAL,
    PREVIOUS,
    SELF,
    WRONG_ANSWER,
)
from circuitkit.interpretation.roles.functions import (
    BACKUP,
    IDLE,
    INHIBITION,
    JOINT,
    MOVER,
    OPPOSER,
    SUPPLIERS,
    SUPPRESSION,
    SUPPRESSOR,
    WRITER,
)
from circuitkit.reporting.story.example import Example, listed

WAYS = {
    PREVIOUS: "the token before",
    DUPLICATE: "the earlier place of the same token",
    INDUCTION: "what followed the same token before",
    POSITIONAL: "a fixed place",
    FIRST: "the first token",
    SELF: "its own place",
}
TELLING = (INDUCTION, PREVIOUS, DUPLICATE)
NEARLY = 0.9  # of a share of attention, to be the same place under another name
AGAINST = ", against the answer"
VERB = re.compile(r"\{(\w+)\}")


def conjugated(phrase: str, n: int) -> str:
    """Return a phrase with its verbs set for one or for several subjects.

    >>> conjugated("{push} it down and {raise} it", 1)
    'pushes it down and raises it'
    """
    return VERB.sub(lambda found: _plural(found[1]) if n > 1 else _third(found[1]), phrase)


def _plural(verb: str) -> str:
    return "are" if verb == "be" else verb


def _third(verb: str) -> str:
    if verb == "be":
        return "is"
    return f"{verb}es" if verb.endswith(("sh", "ch", "s")) else f"{verb}s"


def look(looks: Sequence[Role], example: Example | None) -> tuple[str, str, float]:
    """Return at what a head looks, the token role that this is, and its share of attention.

    All are empty where nothing is claimed; the token role is where it has none in the example.
    """
    if not looks:
        return "", "", 0.0
    share = looks[0].score.value
    at = {role.name.removeprefix(AT): role.score.value for role in looks if role.name[:3] == AT}
    same = [name for name, value in at.items() if value >= NEARLY * share]
    source = same[0] if same else ""
    telling = next((role for role in looks if role.name in TELLING), None)
    if telling is not None and telling.score.value >= NEARLY * share:
        token = example.token_at(source) if example and source else ""
        return ", ".join(filter(None, (WAYS[telling.name], token))), source, share
    tokens = _tokens(looks, at, example)
    name = looks[0].name
    words = listed(tokens) or WAYS.get(name, name.removeprefix(AT).replace("-", " "))
    return words, source, share


def _tokens(looks: Sequence[Role], at: dict[str, float], example: Example | None) -> list[str]:
    """Return the tokens that are looked at, as answers if they are, else by their roles."""
    names = {role.name for role in looks}
    if example is None:
        return [name for name in at]
    if names & {ANSWER, WRONG_ANSWER}:
        right = [example.answer] if ANSWER in names else []
        return [*([example.wrong_answer] if WRONG_ANSWER in names else []), *right]
    return [example.token_at(name) or name for name in list(at)[:2]]


def deed(role: Role, card: Card, example: Example | None) -> str:
    """Return what a component does, for its leading role."""
    answer = example.answer if example else "the right answer"
    wrong = example.wrong_answer if example and example.wrong else ""
    to = _fed(card)
    over = f" over {wrong}" if wrong else ""
    words = {
        MOVER: "{raise} it",
        SUPPRESSOR: "{push} it down",
        SUPPRESSION: f"{{push}} it down{AGAINST}",
        WRITER: f"{{write}} {answer}{over}",
        OPPOSER: f"{{write}} against {answer}",
        INHIBITION: f"{{turn}} {to} away from {wrong or 'the wrong answers'}",
        SUPPLIERS["q"]: f"{{tell}} {to} what to look for",
        SUPPLIERS["k"]: f"{{mark}} the place for {to} to find",
        SUPPLIERS["v"]: f"{{put}} down what {to} fetches",
        SUPPLIERS["mlp"]: f"{{feed}} {to}",
        SUPPLIERS["mixer"]: f"{{feed}} {to}",
        BACKUP: "{stand} in when another part is gone",
        JOINT: "{be} needed together with others",
        IDLE: "",
    }
    says = words.get(role.name, role.name)
    is_against = role.score.value < 0 and role.name not in (OPPOSER, SUPPRESSION)
    return says + AGAINST if says and is_against else says


def _fed(card: Card) -> str:
    """Return the component that the strongest edge out of this one ends at."""
    return Circuit.ends(card.feeds[0].edge)[1] if card.feeds else "later parts"
