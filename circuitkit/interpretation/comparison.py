"""What circuits of different models have in common: components matched by behaviour, not by name.

    behaviour(u)      what u does, in shares of the gap, and its attention above chance, by role
    similarity(u, v)  sum over roles of min(|x|, |y|) where the signs agree / sum of max(|x|, |y|)
    overlap(A, B)     the same over the edges between named nodes; x, y: exact effects, summed over
                      the edges between the two names, in shares of each model's gap

(weighted Jaccard, Ruzicka 1958: 1 for equal ones, 0 where nothing is shared). The nodes are either
groups ("previous-token heads"), or pairs of components, matched one to one so that the sum of
similarities is largest, heads with heads and MLPs with MLPs (Kuhn 1955). Neither knows an index.

Null: the same graphs, with B's names dealt out anew among its heads and among its MLPs; p is
(k + 1) / (n + 1) over n deals, k of which overlap at least as much. Names come in part from the
kind of edge a component has, so p says that the graphs agree, not that names and edges do so
independently. Few components have few deals: with four heads and no MLP p is 1/24 at best.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_uppercase
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.graph import read_of
from circuitkit.errors import CriterionError
from circuitkit.interpretation.findings import DOES, Card, Interpretation
from circuitkit.interpretation.roles.causes import LEAST
from circuitkit.interpretation.roles.claims import VAGUE, claimed
from circuitkit.interpretation.roles.functions import IDLE
from circuitkit.moved import old_names
from circuitkit.work.notebook import Shown
from circuitkit.work.text import Verbatim, brief, shown

N_DEALS = 999
HIGH = 0.95  # quantile of the null that is shown

Names = Mapping[str, str]  # component -> the node it belongs to
NamedEdge = tuple[str, str, str]  # sender's node, receiver's node, what is read: q, k, v, mlp
Key = TypeVar("Key")


@dataclass(frozen=True)
class Overlap:
    """How much of two graphs is shared, from 0 to 1, and what chance gives; `p` is one-sided."""

    value: float
    null: float
    null_high: float
    p: float


@dataclass(frozen=True)
class MatchedPair:
    """Two components that behave alike; `similarity` from 0 to 1."""

    a: str
    b: str
    similarity: float


@dataclass(frozen=True)
class PairComparison:
    """Two of the models, by number: the overlap of their graphs of groups and of matched pairs.

    `n_a` and `n_b` count the components that are not idle, which are those that can be matched.
    """

    a: int
    b: int
    groups: Overlap
    matched: Overlap
    matches: tuple[MatchedPair, ...]
    n_a: int
    n_b: int


@dataclass(frozen=True)
class SharedGroup:
    """A group, its components in each model, and what the most important of them is worth there.

    `worth` is the largest loss without one component, as a share of the gap; 0 where there is none.
    """

    name: str
    components: tuple[tuple[str, ...], ...]
    worth: tuple[float, ...]


@dataclass(frozen=True)
class SharedEdge:
    """All edges between two groups: their summed effects in each model, in shares of the gap."""

    sender: str
    receiver: str
    read: str
    shares: tuple[float, ...]

    @property
    def n_models(self) -> int:
        """In how many models it carries at least LEAST of the gap, for or against as in most."""
        sign = 1 if sum(self.shares) >= 0 else -1
        return sum(sign * share >= LEAST for share in self.shares)


@dataclass(frozen=True)
class Comparison(Shown):
    """What some models have in common, `models` in the order given. `notes` says what differs."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    pairs: tuple[PairComparison, ...]
    groups: tuple[SharedGroup, ...]
    edges: tuple[SharedEdge, ...]
    n_deals: int
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        models = ", ".join(f"{a} {m}" for a, m in zip(self.letters, self.models, strict=True))
        size = f"{len(self.groups)} groups, {len(self.edges)} edges between them"
        return brief(f"Comparison({shown(Verbatim(models), 100)}: {size})")

    @property
    def letters(self) -> tuple[str, ...]:
        """What the models go by: A, B, C ..., then M27, M28 ..."""
        return tuple(
            ascii_uppercase[at] if at < len(ascii_uppercase) else f"M{at + 1}"
            for at in range(len(self.models))
        )

    @property
    def universal(self) -> tuple[float, ...]:
        """Of what runs between groups in each model (sizes of effects), the share along `edges`
        that are in all models."""
        n = len(self.models)
        whole = [sum(abs(edge.shares[at]) for edge in self.edges) for at in range(n)]
        in_all = [edge for edge in self.edges if edge.n_models == n]
        along = [sum(abs(edge.shares[at]) for edge in in_all) for at in range(n)]
        return tuple(a / w if w else 0.0 for a, w in zip(along, whole, strict=True))


def compare(
    interpretations: Sequence[Interpretation], *, n_deals: int = N_DEALS, seed: int = 0
) -> Comparison:
    """Return what interpretations of different models have in common.

    Raises:
        CriterionError: fewer than two, or a circuit without components.
    """
    require_several(len(interpretations))
    for one in interpretations:
        if not one.cards:
            raise CriterionError(
                f"compare: a circuit must have components, got none for {one.task} in {one.model}. "
                "There is nothing to match. Choose a larger circuit."
            )
    pairs = tuple(
        _pair(interpretations[a], interpretations[b], a, b, n_deals, seed)
        for a, b in combinations(range(len(interpretations)), 2)
    )
    return Comparison(
        models=tuple(one.model for one in interpretations),
        tasks=tuple(one.task for one in interpretations),
        pairs=pairs,
        groups=_shared_groups(interpretations),
        edges=_shared_edges(interpretations),
        n_deals=n_deals,
        notes=_notes(interpretations),
    )


def require_several(n_circuits: int) -> None:
    """Refuse to compare what is alone.

    Raises:
        CriterionError: there are fewer than two circuits.
    """
    if n_circuits < 2:
        raise CriterionError(
            f"compare: needs at least two circuits, got {n_circuits}. What is shared is shared by "
            "two. Name another."
        )


def behaviour(card: Card, tried: frozenset[str]) -> dict[str, float]:
    """Return what a component does and where it looks, by role; only roles in `tried`.

    Vague places to look (first token, itself, a fixed position) say nothing of a behaviour.
    """
    vector = {}
    for role in card.roles:
        if role.name in tried and role.name not in (*VAGUE, IDLE):
            score = role.score.value
            vector[role.name] = score if role.kind == DOES else max(0.0, score - role.null)
    return vector


def ruzicka(one: Mapping[Key, float], other: Mapping[Key, float]) -> float:
    """Return the weighted Jaccard similarity of two signed vectors; 0 for two empty ones."""
    shared = whole = 0.0
    for key in one.keys() | other.keys():
        x, y = one.get(key, 0.0), other.get(key, 0.0)
        if min(x, y) > 0 or max(x, y) < 0:
            shared += min(abs(x), abs(y))
            whole += max(abs(x), abs(y))
        else:  # nothing of the one is in the other
            whole += abs(x) + abs(y)
    return shared / whole if whole else 0.0


def match(a: Interpretation, b: Interpretation) -> tuple[MatchedPair, ...]:
    """Return the pairs of components that behave most alike, in the order of A's components.

    A component is in one pair at most; idle ones, and pairs with nothing in common, are left out.
    """
    tried = frozenset(_tried(a) & _tried(b))
    found = []
    for kind in ("head", "mixer", "mlp"):
        ours, theirs = (
            [card for card in _with_a_role(one) if kind_of(card.component) == kind]
            for one in (a, b)
        )
        alike = np.array(
            [[ruzicka(behaviour(x, tried), behaviour(y, tried)) for y in theirs] for x in ours]
        ).reshape(len(ours), len(theirs))
        rows, columns = linear_sum_assignment(alike, maximize=True)
        found += [
            MatchedPair(ours[i].component, theirs[j].component, float(alike[i, j]))
            for i, j in zip(rows, columns, strict=True)
            if alike[i, j] > 0
        ]
    order = [card.component for card in a.cards]
    return tuple(sorted(found, key=lambda pair: order.index(pair.a)))


def edge_shares(one: Interpretation, names: Names) -> dict[NamedEdge, float]:
    """Return the summed effects of the edges between nodes, as shares of the gap.

    What has no name (the input and the logits) is its own node.
    """
    return _summed(_shares(one), names)


def overlap(
    a: Interpretation,
    names_a: Names,
    b: Interpretation,
    names_b: Names,
    *,
    n_deals: int = N_DEALS,
    seed: int = 0,
) -> Overlap:
    """Return how much of two graphs of named nodes is shared, and how much by chance."""
    ours, theirs = edge_shares(a, names_a), _shares(b)
    value = ruzicka(ours, _summed(theirs, names_b))
    rng = np.random.default_rng(seed)
    null = np.array(
        [ruzicka(ours, _summed(theirs, dealt_anew(names_b, rng))) for _ in range(n_deals)]
    )
    # sums in another order may differ in their last digits: what is dealt as it was counts as such
    as_much = int((null >= value - 1e-9).sum())
    return Overlap(
        value,
        float(null.mean()),
        float(np.quantile(null, HIGH)),
        (as_much + 1) / (n_deals + 1),
    )


def dealt_anew(names: Names, rng: np.random.Generator) -> dict[str, str]:
    """Return the same names, at random among the heads and at random among the MLPs."""
    dealt = {}
    for kind in ("head", "mixer", "mlp"):
        members = [component for component in names if kind_of(component) == kind]
        for component, giver in zip(members, rng.permutation(len(members)), strict=True):
            dealt[component] = names[members[giver]]
    return dealt


def _pair(
    one: Interpretation, other: Interpretation, a: int, b: int, n_deals: int, seed: int
) -> PairComparison:
    matches = match(one, other)
    ours = {card.component: f"A {card.component}" for card in one.cards}
    theirs = {card.component: f"B {card.component}" for card in other.cards}
    for pair in matches:
        ours[pair.a] = theirs[pair.b] = f"{pair.a} = {pair.b}"
    return PairComparison(
        a,
        b,
        overlap(one, _groups(one), other, _groups(other), n_deals=n_deals, seed=seed),
        overlap(one, ours, other, theirs, n_deals=n_deals, seed=seed),
        matches,
        len(_with_a_role(one)),
        len(_with_a_role(other)),
    )


def _shared_groups(interpretations: Sequence[Interpretation]) -> tuple[SharedGroup, ...]:
    """Return every group, those in most models first, then by what they are worth."""
    names = dict.fromkeys(card.group for one in interpretations for card in one.cards)
    found = [
        SharedGroup(
            name,
            tuple(_members(one, name) for one in interpretations),
            tuple(_worth(one, name) for one in interpretations),
        )
        for name in names
    ]
    return tuple(sorted(found, key=lambda g: (-sum(map(bool, g.components)), -sum(g.worth))))


def _shared_edges(interpretations: Sequence[Interpretation]) -> tuple[SharedEdge, ...]:
    """Return the edges between groups that carry LEAST of some gap, those of most models first."""
    shares = [edge_shares(one, _groups(one)) for one in interpretations]
    ends = dict.fromkeys(edge for each in shares for edge in each)
    found = [SharedEdge(*edge, tuple(each.get(edge, 0.0) for each in shares)) for edge in ends]
    large = [edge for edge in found if any(abs(share) >= LEAST for share in edge.shares)]
    return tuple(sorted(large, key=lambda edge: (-edge.n_models, -abs(sum(edge.shares)))))


def _notes(interpretations: Sequence[Interpretation]) -> tuple[str, ...]:
    notes = []
    for what in ("task", "metric", "ablation"):
        values = list(dict.fromkeys(str(getattr(one, what)) for one in interpretations))
        if len(values) > 1:
            notes.append(f"They differ in {what}: {', '.join(values)}.")
    return tuple(notes)


def _groups(one: Interpretation) -> dict[str, str]:
    return {card.component: card.group for card in one.cards}


def _members(one: Interpretation, group: str) -> tuple[str, ...]:
    return tuple(card.component for card in one.cards if card.group == group)


def _worth(one: Interpretation, group: str) -> float:
    lost = [card.losses[0].effect.value for card in one.cards if card.group == group]
    return max((value / one.gap.value for value in lost), default=0.0)


def _tried(one: Interpretation) -> set[str]:
    return {role.name for card in one.cards for role in card.roles}


def _with_a_role(one: Interpretation) -> list[Card]:
    """Return the cards of what is not idle: it matters, even where no role of it is clear."""
    return [
        card for card in one.cards if all(role.name != IDLE for role in claimed(card.roles, DOES))
    ]


def _shares(one: Interpretation) -> dict[NamedEdge, float]:
    """Return the effect of every edge between components but input to logits, shares of the gap."""
    links = {link.edge: link for card in one.cards for link in (*card.reads, *card.feeds)}
    return {
        (*Circuit.ends(edge), read_of(edge.partition("->")[2])): link.effect.value / one.gap.value
        for edge, link in links.items()
    }


def _summed(shares: Mapping[NamedEdge, float], names: Names) -> dict[NamedEdge, float]:
    """Return shares of edges between components as those between the nodes they belong to."""
    summed: dict[NamedEdge, float] = defaultdict(float)
    for (sender, receiver, read), share in shares.items():
        summed[names.get(sender, sender), names.get(receiver, receiver), read] += share
    return dict(summed)


if not TYPE_CHECKING:  # names that this module had
    __getattr__ = old_names(__name__)
