"""Alignments: where in the model a variable of a hypothesis is said to be.

    post 2 at END                 the residual stream behind layer 2, at the role END
    a3.h0 at END                  what head 0 of layer 3 adds there
    a3.h0<q> at END               what that head looks for there
    a1.h0 + a1.h2 at S2           two heads together
    a0.h1 at S2, m1 at END        two roles together
    a0.h3 at all                  at every token

Places have the names of `circuitkit patch` (interventions/sites.py), but for patterns of attention:
they look from position to position, and prompts differ in those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuitkit.errors import GraphError, HypothesisError
from circuitkit.interventions.sites import SITES, Place, Site
from circuitkit.model import SubjectModel
from circuitkit.work.text import shown

AT = " at "
LEFT_OUT = ("pattern",)


@dataclass(frozen=True)
class Spot:
    """Some places of the model, at one role."""

    places: tuple[Place, ...]
    role: str

    def __str__(self) -> str:
        return f"{' + '.join(place.name for place in self.places)}{AT}{self.role}"


@dataclass(frozen=True)
class Alignment:
    """Where a variable is: spots that are patched together."""

    spots: tuple[Spot, ...]

    def __str__(self) -> str:
        return ", ".join(str(spot) for spot in self.spots)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles at which values are patched."""
        return tuple(dict.fromkeys(spot.role for spot in self.spots))


def alignment_of(model: SubjectModel, text: str, roles: Sequence[str]) -> Alignment:
    """Return the alignment that is written like this, for prompts with these roles.

    Raises:
        HypothesisError: no such place or role, or it cannot be read.
    """
    known = places_of(model)
    spots = []
    for part in text.split(","):
        written, at, role = part.strip().rpartition(AT)
        if not at:
            raise HypothesisError(
                f"alignment {shown(text)}: must be written as 'post 2 at END', got "
                f"{shown(part.strip())}. It says where a variable is. Name a place and a role."
            )
        names = [name.strip() for name in written.split("+")]
        for name in names:
            if name not in known:
                raise HypothesisError(
                    f"alignment {shown(text)}: the place must exist in model {shown(model.name)}, "
                    f"got {shown(name)}. Nothing is there to patch. Choose one as "
                    f"{_examples(known)}."
                )
        if role not in roles:
            raise HypothesisError(
                f"alignment {shown(text)}: the role must be one of {', '.join(roles)}, got "
                f"{shown(role)}. No prompt has such a span. Choose one."
            )
        spots.append(Spot(tuple(known[name] for name in names), role))
    return Alignment(tuple(spots))


def require_aligned(
    variables: Sequence[str], alignment: Mapping[str, str], name: str
) -> dict[str, str]:
    """Return where each variable is, in the order of the variables.

    Raises:
        HypothesisError: a variable has no place, or there is a place of no variable.
    """
    missing = [each for each in variables if not alignment.get(each)]
    if missing:
        raise HypothesisError(
            f"hypothesis {shown(name)}: every variable must have an alignment, got none for "
            f"{', '.join(missing)}. Its value could not be exchanged. Say where it is with --align "
            f"{missing[0]}='post 2 at END', or let circuitkit look with --search."
        )
    unknown = [each for each in alignment if each not in variables]
    if unknown:
        raise HypothesisError(
            f"hypothesis {shown(name)}: an alignment must be of one of its variables, "
            f"{', '.join(variables)}, got {', '.join(map(shown, unknown))}. There is nothing to "
            "align. Check the spelling."
        )
    return {each: alignment[each] for each in variables}


def places_of(model: SubjectModel) -> dict[str, Place]:
    """Return every place of a model whose values can be exchanged, by name."""
    found: dict[str, Place] = {}
    for site in SITES:
        if site.name not in LEFT_OUT:
            found |= {place.name: place for place in places_at(model, site)}
    return found


def places_at(model: SubjectModel, site: Site) -> tuple[Place, ...]:
    """Return the places of a site; none where the model has no such site."""
    try:
        return site.places(model)
    except GraphError:
        return ()


def _examples(known: Mapping[str, Place]) -> str:
    names = list(known)
    heads = [name for name in names if ".h" in name]
    last = [name for name in names if name.startswith("post")]
    return ", ".join([*names[:1], *last[-1:], *heads[:1], *heads[-1:]])
