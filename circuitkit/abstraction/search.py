"""Searching for the place of a variable, over layers, heads and roles.

    discovery prompts   each place of the grid is tried, and the one with the best IIA chosen
    other prompts       judge the chosen place: chance has chosen there nothing

The best of many is always too good on what chose it; only the second number counts. The grid is
every place of some sites at every role that all prompts have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from circuitkit.abstraction.alignment import LEFT_OUT, Alignment, Spot, places_at
from circuitkit.abstraction.exchange import Exchanger
from circuitkit.abstraction.interchanges import Interchanges
from circuitkit.abstraction.judge import Accuracy, accuracy_of, best_of
from circuitkit.abstraction.reading import WHOLE, Readings
from circuitkit.errors import HypothesisError
from circuitkit.interventions.sites import Place, site_named
from circuitkit.model import SubjectModel

SITES = ("resid-post", "heads")


@dataclass(frozen=True)
class Grid:
    """The IIA at each alignment that was tried."""

    alignments: tuple[Alignment, ...]
    accuracies: tuple[Accuracy, ...]

    @property
    def best(self) -> tuple[Alignment, Accuracy]:
        """The alignment with the best accuracy."""
        by_name = dict(zip(map(str, self.alignments), self.accuracies, strict=True))
        name, accuracy = best_of(by_name)
        return next(each for each in self.alignments if str(each) == name), accuracy


def grid_of(
    model: SubjectModel, roles: Sequence[str], sites: Sequence[str] = SITES
) -> tuple[Alignment, ...]:
    """Return one alignment for each place of some sites at each role.

    Raises:
        MethodError: there is no such site.
        HypothesisError: the model has no place there.
    """
    left_out = sorted(set(sites).intersection(LEFT_OUT))
    if left_out:
        raise HypothesisError(
            f"search: a site must have a value at each token, got {left_out[0]!r}. Values are "
            "exchanged at the tokens of a role. Choose other sites."
        )
    found = tuple(
        Alignment((Spot((place,), role),))
        for site in sites
        for place in places_at(model, site_named(site))
        for role in roles
    )
    if not found:
        raise HypothesisError(
            f"search: there must be places to try in model {model.name!r}, got none at "
            f"{', '.join(sites)} and {len(roles)} roles. A variable could be nowhere. Choose other "
            "sites."
        )
    return found


def places_in(alignments: Sequence[Alignment]) -> list[Place]:
    """Return every place of some alignments."""
    return [p for a in alignments for spot in a.spots for p in spot.places]


def common_roles(readings: Readings) -> tuple[str, ...]:
    """Return the roles that every prompt has, but for that of all tokens."""
    found = set.intersection(*(set(spans) for spans in readings.spans)) - {WHOLE}
    return tuple(name for name in readings.spans[0] if name in found)


def try_alignments(
    exchanger: Exchanger, interchanges: Interchanges, alignments: Sequence[Alignment]
) -> Grid:
    """Return the IIA of a variable at each of some alignments."""
    found = [
        accuracy_of(interchanges, exchanger.exchanged(interchanges, alignment))
        for alignment in alignments
    ]
    return Grid(tuple(alignments), tuple(found))
