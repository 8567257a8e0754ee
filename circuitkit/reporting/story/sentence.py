"""The story of a circuit in three sentences: what its last parts do, what feeds them, what is left.

Only what is claimed of a role is said. Where nothing was interpreted, what is said is what patching
measured, and which command asks for more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from circuitkit.reporting.story.example import Example, example_of, listed
from circuitkit.reporting.story.parts import Part, kinds_of, parts_of
from circuitkit.reporting.story.words import conjugated
from circuitkit.study.records import RunRecord
from circuitkit.validation.knock_outs import inner_components
from circuitkit.validation.verdict import REFUTED, SUPPORTED

TOLD = 0.05  # of the gap, that a part must be worth to be told of
MOST_TOLD = 4  # parts of each sentence
HEDGES = {SUPPORTED: "", REFUTED: "Of what was found, which is not the whole of it: "}
UNDECIDED_HEDGE = "As far as is shown: "


@dataclass(frozen=True)
class Story:
    """What is told on the first screen. `more` is what feeds the last parts, and what is left.

    `ask` is the command that finds out what the parts do; empty where that is known.
    """

    example: Example | None
    lead: str
    more: tuple[str, ...]
    parts: tuple[Part, ...]
    ask: str

    @property
    def sentence(self) -> str:
        """All of it as one paragraph."""
        return " ".join([self.lead, *self.more])


def story_of(record: RunRecord) -> Story:
    """Return what the circuit does, in the words of its task."""
    example = example_of(record)
    parts = parts_of(record, example)
    if record.interpretation is None:
        return Story(example, *_measured(record, parts, example), parts, _ask(record))
    ends = _told([part for part in parts if part.ends], 0.0)
    feeding = _told([part for part in parts if not part.ends and part.is_shown])
    hedge = HEDGES.get(record.validation.verdict.outcome, UNDECIDED_HEDGE)
    counted = example.counted() if example else ""
    clauses = _clauses(ends, example)
    if not clauses:
        lead = f"{hedge}no part is shown to write the answer by itself."
    else:
        lead = f"{hedge}{counted + ': ' if counted else ''}{'; '.join(clauses)}."
    fed = _clauses(feeding, example)
    more = [_capital(f"{'; '.join(fed)}.")] if fed else []
    left = [part for part in parts if part not in ends and part not in feeding]
    more += [_left(left)] if left else []
    return Story(example, _capital(lead), tuple(more), parts, "")


def _told(parts: Sequence[Part], least: float = TOLD) -> list[Part]:
    """Return the strongest parts that are worth telling of, by layer."""
    worth = [part for part in parts if abs(part.share) >= least and (part.deed or part.looks)]
    strongest = sorted(worth, key=lambda part: -abs(part.share))[:MOST_TOLD]
    return [part for part in parts if part in strongest]


def _clauses(parts: Sequence[Part], example: Example | None) -> list[str]:
    """Return a clause for each part; those that look at one thing from one place share theirs."""
    clauses: list[str] = []
    told: set[tuple[str, ...]] = set()
    here = None
    for part in parts:
        if part.components in told:
            continue
        alike = [each for each in parts if _aim(each) == _aim(part)] if part.looks else [part]
        told |= {each.components for each in alike}
        clauses.append(_clause(alike, example, says_where=part.at != here))
        here = part.at
    return clauses


def _aim(part: Part) -> tuple[str, str]:
    return part.at, part.looks


def _clause(parts: Sequence[Part], example: Example | None, *, says_where: bool) -> str:
    first = parts[0]
    names = [name for part in parts for name in part.named]
    n = sum(len(part.components) for part in parts)
    subject = listed(names) if len(names) == n else f"{', '.join(names)} and {n - len(names)} more"
    place = _place(first, example) if says_where else ""
    start = f"{place}, {subject}" if place else subject
    if not first.looks:
        return f"{start} {conjugated(first.deed, n)}"
    whose = "its" if n == 1 else "their"
    shares = listed([f"{part.attention:.0%}" for part in parts])
    seen = f"{start} {conjugated('{look}', n)} at {first.looks} ({shares} of {whose} attention)"
    deeds = {part.deed for part in parts if part.deed}
    if not deeds:
        return seen
    if len(deeds) == 1:
        return f"{seen} and {conjugated(deeds.pop(), n)}"
    each = [f"{listed(p.named)} {conjugated(p.deed, len(p.components))}" for p in parts if p.deed]
    return f"{seen}: {', '.join(each)}"


def _place(part: Part, example: Example | None) -> str:
    if not part.at:
        return ""
    return example.place(part.at) if example else f"at {part.at}"


def _left(parts: Sequence[Part]) -> str:
    """Return what is said of the parts that no sentence names."""
    names = [name for part in parts for name in part.components]
    shown = listed(names) if len(names) <= 3 else f"{len(names)} more parts"
    each = "does" if len(names) == 1 else "do"
    return f"{_capital(shown)} {each} little alone: the table of parts says what is needed jointly."


def _measured(
    record: RunRecord, parts: Sequence[Part], example: Example | None
) -> tuple[str, tuple[str, ...]]:
    n, of = record.circuit.n_edges, record.graph.n_edges
    inner = inner_components(record.circuit)
    lead = f"The circuit runs through {kinds_of(inner)}, over {n:,} of {of:,} edges."
    worth = [part for part in parts if abs(part.share) >= TOLD]
    strongest = sorted(worth, key=lambda part: -abs(part.share))[:MOST_TOLD]
    unknown = UNKNOWN_OF_UNITS if record.graph.units else ""
    if not strongest:
        return lead, (unknown or "What its parts do was not asked.",)
    named = [f"{part.name} {_place(part, example)}".strip() for part in strongest]
    most = f"Replaced one at a time, {listed(named)} matter{'s' * (len(named) == 1)} most."
    return lead, (most, unknown or "What they do there was not asked.")


UNKNOWN_OF_UNITS = "What parts do is known of heads and whole MLPs alone, not of units."


def _ask(record: RunRecord) -> str:
    if record.graph.units:
        return ""
    command = record.info.command
    if command.startswith("circuitkit run ") and "--explain" not in command:
        return f"{command} --explain"
    return "circuitkit interpret DIR"


def _capital(text: str) -> str:
    """Return a sentence with a capital, unless it begins with the name of a component."""
    first = text.split(" ", 1)[0]
    return text if any(letter.isdigit() for letter in first) else text[:1].upper() + text[1:]
