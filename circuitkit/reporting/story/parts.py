"""The parts of a circuit as a story needs them: who, where, looking at what, doing what, how much.

With an interpretation a part is a group of components, else a single component. Where it acts is
where noising it alone does most, by the heat maps of patching, and unknown where no place stands
clear of zero. `share` is what is lost without its strongest member, as a share of the gap.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuitkit.circuits.circuit import kind_of, layer_of
from circuitkit.circuits.graph import LOGITS
from circuitkit.interpretation.findings import ATTENDS, DOES, Card, Role
from circuitkit.interpretation.groups import INTO_LOGITS, leading_first
from circuitkit.interpretation.roles.claims import claimed
from circuitkit.interpretation.roles.functions import IDLE, JOINT
from circuitkit.reporting.story.example import Example
from circuitkit.reporting.story.words import deed, look
from circuitkit.study.records import RunRecord
from circuitkit.validation.knock_outs import inner_components
from circuitkit.work.text import counted

REST = "rest"  # the column of all other places
WORDS = {
    "head": "head",
    "mixer": "mixer",
    "mlp": "MLP",
    "neuron": "neuron",
    "feature": "feature",
    "error": "error term",
    "rest": "rest of an MLP",
}
MOST_NAMED = 4  # members of a part in a sentence


@dataclass(frozen=True)
class Part:
    """Components that do one thing, the strongest first. `at` is a token role, empty if unknown.

    `looks` says at what, `deed` what is done, both empty where nothing is claimed; `attention` is
    the share of it that goes there. `ends` is whether it writes the answer itself.
    """

    name: str
    components: tuple[str, ...]
    layer: int
    at: str
    looks: str
    attention: float
    source: str
    deed: str
    share: float
    ends: bool
    is_shown: bool = True

    @property
    def named(self) -> tuple[str, ...]:
        """The members that a sentence names."""
        return self.components[:MOST_NAMED]


def parts_of(record: RunRecord, example: Example | None) -> tuple[Part, ...]:
    """Return the parts of the circuit between the input and the logits, by layer."""
    places = _places(record)
    found = record.interpretation
    if found is None:
        parts = _unexplained(record, places)
    else:
        gap = abs(found.gap.value) or 1.0
        cards = {card.component: card for card in found.cards}
        groups = [[cards[n] for n in group.components if n in cards] for group in found.groups]
        parts = [
            _explained(record, _strongest_first(group), example, places, gap)
            for group in groups
            if group
        ]
    return tuple(sorted(parts, key=lambda part: (part.layer, part.components)))


def _strongest_first(cards: Sequence[Card]) -> list[Card]:
    return sorted(cards, key=lambda card: -abs(_alone(card)))


def _alone(card: Card) -> float:
    """Return what is lost without a component alone; of one needed with others, what is then."""
    joint = next((role for role in claimed(card.roles, DOES) if role.name == JOINT), None)
    if joint is not None:
        return 0.0
    return card.losses[0].effect.value if card.losses else 0.0


def _explained(
    record: RunRecord,
    cards: Sequence[Card],
    example: Example | None,
    places: Mapping[str, str],
    gap: float,
) -> Part:
    lead = cards[0]
    does = leading_first(claimed(lead.roles, DOES))
    looks, source, attention = look(claimed(lead.roles, ATTENDS), example)
    return Part(
        name=lead.group,
        components=tuple(card.component for card in cards),
        layer=layer_of(lead.component, record.graph),
        at=places.get(lead.component, ""),
        looks=looks,
        attention=attention,
        source=source,
        deed=deed(does[0], lead, example) if does else "",
        share=_alone(lead) / gap,
        ends=bool(does) and does[0].name in INTO_LOGITS,
        is_shown=_is_shown(does),
    )


def _is_shown(does: Sequence[Role]) -> bool:
    return not does or does[0].name not in (IDLE, JOINT)


def _unexplained(record: RunRecord, places: Mapping[str, str]) -> list[Part]:
    """Return each component with the largest effect that patching measured of it."""
    gap = abs(record.validation.baseline.gap.value) or 1.0
    effects = _effects(record)
    feeds = {edge.partition("->")[0] for edge in record.circuit.edges if edge.endswith(LOGITS)}
    return [
        Part(
            name=name,
            components=(name,),
            layer=layer_of(name, record.graph),
            at=places.get(name, ""),
            looks="",
            attention=0.0,
            source="",
            deed="",
            share=effects.get(name, 0.0) / gap,
            ends=name in feeds,
        )
        for name in inner_components(record.circuit)
    ]


def _effects(record: RunRecord) -> dict[str, float]:
    """Return the largest measured effect of each component that stands clear of zero."""
    found: dict[str, float] = {}
    for heat_map in record.heat_maps:
        for name, values, low, high in zip(
            heat_map.rows, heat_map.values, heat_map.low, heat_map.high, strict=True
        ):
            clear = [v for v, a, b in zip(values, low, high, strict=True) if a > 0 or b < 0]
            found[name] = max(clear, key=abs, default=0.0)
    return found


def _places(record: RunRecord) -> dict[str, str]:
    """Return the token role where each component does most, where one stands clear of zero."""
    found: dict[str, str] = {}
    for heat_map in record.heat_maps:
        for at, name in enumerate(heat_map.rows):
            clear = {
                column: abs(heat_map.values[at][number])
                for number, column in enumerate(heat_map.columns)
                if heat_map.low[at][number] > 0 or heat_map.high[at][number] < 0
            }
            best = max(clear, key=lambda column: clear[column], default="")
            if best and best != REST:
                found[name] = best
    return found


def kinds_of(components: Sequence[str]) -> str:
    """Return how many heads, mixers and MLPs there are, in words: `3 heads and 1 MLP`."""
    counts = Counter(map(kind_of, components))
    words = [counted(counts[kind], word) for kind, word in WORDS.items() if counts[kind]]
    *first, last = words or ["no component"]
    return f"{', '.join(first)} and {last}" if first else last
