"""Interpretation: what is said of the parts of a circuit, as plain data that a report can show.

Effects are in the metric's unit, positive where the part supports the behaviour; every number that
is a mean over pairs brings its 95 % interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from circuitkit.interpretation.section import Matrix, Section
from circuitkit.interpretation.weights.composition import Composition
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.work.notebook import Drawn, Shown
from circuitkit.work.text import Verbatim, brief, shown

ATTENDS, DOES = "attends", "does"  # the two kinds of roles: where a head looks, what it is for


@dataclass(frozen=True)
class Role:
    """One role that a component may have. `null` is what chance gives on the same prompts.

    `kind` is ATTENDS or DOES, `unit` what the score is in. `p` is corrected for all components and
    roles that were tried (Holm). A role that is not `claimed` was tried and is not shown.
    """

    name: str
    kind: str
    score: Estimate
    unit: str
    null: float
    p: float
    claimed: bool
    evidence: str

    def __repr__(self) -> str:
        claim = "" if self.claimed else ", not claimed"
        return brief(f"Role({self.name}: {self.score} {self.unit}, chance {self.null:.3g}{claim})")


@dataclass(frozen=True)
class Link:
    """An edge of the circuit into or out of a component, with the exact effect of noising it.

    `says` is what the sender is known to write, in words; empty where nothing is known.
    """

    edge: str
    effect: Estimate
    says: str = ""


@dataclass(frozen=True)
class Written:
    """A token whose logit a component raises (or lowers) directly: the mean over pairs, logits."""

    token: str
    logits: float


@dataclass(frozen=True)
class Loss:
    """What the behaviour loses when some components are ablated together."""

    without: tuple[str, ...]
    effect: Estimate


@dataclass(frozen=True)
class WeightedPair:
    """Two tokens and what a head's weights hold for them, up to a factor of each run's norms."""

    first: str
    second: str
    value: float


@dataclass(frozen=True)
class HeadWeights:
    """What a head could do, by its weights alone (weights.py, composition.py).

    `copying` and `matching` run from -1 to 1: the shares of positive eigenvalues of its OV and QK
    circuits over the vocabulary. `writes` are the largest entries (token attended to, token whose
    logit rises), `finds` those of (token at the destination, token it looks for); empty where the
    vocabulary is too large. `composes` holds the circuit's edges from heads into this one.
    """

    copying: float
    matching: float
    writes: tuple[WeightedPair, ...]
    finds: tuple[WeightedPair, ...]
    composes: tuple[Composition, ...]


@dataclass(frozen=True)
class Card(Shown):
    """One component: what it is for and the evidence. `losses` begins with the component alone.

    `direct` is what it adds to the logits of the answers over the wrong ones, in logits; None where
    there are no answers. `backups` do more when it is gone. `weights` is None for MLPs, and for
    heads where tokens are embedded in another width.
    """

    component: str
    group: str
    summary: str
    roles: tuple[Role, ...]
    reads: tuple[Link, ...]
    feeds: tuple[Link, ...]
    direct: Estimate | None
    promotes: tuple[Written, ...]
    demotes: tuple[Written, ...]
    losses: tuple[Loss, ...]
    backups: tuple[str, ...]
    weights: HeadWeights | None = None

    def __repr__(self) -> str:
        return brief(f"Card({self.component}, {self.group}: {shown(Verbatim(self.summary), 100)})")


@dataclass(frozen=True)
class Group:
    """Components that behave alike, as "name movers"."""

    name: str
    components: tuple[str, ...]
    summary: str


@dataclass(frozen=True)
class GroupEdge:
    """All edges of the circuit from one group to another; the effect of noising them together."""

    sender: str
    receiver: str
    n_edges: int
    effect: Estimate


@dataclass(frozen=True)
class PromptView:
    """One prompt as a reader may pick it. Maps are by component name.

    `labels` names each position's role, empty where it has none. `patterns` holds each head's
    attention, destination by source; `attributions` what each component adds to the answers' logits
    over the wrong ones, by the position it was read from (heads) or stands at (others), in logits.
    `value` is the metric in the whole model.
    """

    tokens: tuple[str, ...]
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    wrong_answers: tuple[str, ...]
    value: float
    patterns: Mapping[str, Matrix]
    attributions: Mapping[str, tuple[float, ...]]

    def __repr__(self) -> str:
        size = f"{len(self.tokens)} tokens, {len(self.patterns)} heads"
        return brief(f"PromptView({size}: {shown(''.join(self.tokens), 80)})")


@dataclass(frozen=True)
class TemplatePatterns:
    """Attention averaged over the `n` pairs of a template: they share a token layout.

    `labels` names the positions: their role, or the token where all pairs have the same one.
    """

    template: str
    n: int
    labels: tuple[str, ...]
    patterns: Mapping[str, Matrix]

    def __repr__(self) -> str:
        size = f"{self.n} pairs, {len(self.labels)} positions, {len(self.patterns)} heads"
        return brief(f"TemplatePatterns({shown(self.template, 60)}: {size})")


@dataclass(frozen=True)
class Interpretation(Drawn):
    """Everything that `circuitkit interpret` finds out. `notes` says what was left out, and why.

    `sections` are the findings that no program has to take apart; sections.py adds those of groups.
    """

    task: str
    model: str
    model_digest: str
    metric: str
    unit: str
    ablation: str
    n_pairs: int
    seed: int
    gap: Estimate
    cards: tuple[Card, ...]
    groups: tuple[Group, ...]
    group_edges: tuple[GroupEdge, ...]
    prompts: tuple[PromptView, ...]
    templates: tuple[TemplatePatterns, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        size = f"{len(self.cards)} components in {len(self.groups)} groups, {self.n_pairs} pairs"
        return brief(f"Interpretation({self.task} in {self.model}: {size})")

    def card(self, component: str) -> Card:
        """Return the card of a component of the circuit."""
        return next(card for card in self.cards if card.component == component)
