"""What an MLP is taken apart into: some of its neurons, or features of a sparse dictionary.

    neurons     m3 = sum of its neurons  + bias                    m3.n7, ..., m3.rest
    features    m3 = sum of its features + bias + error            m3.f17, ..., m3.error, m3.rest

`m3.rest` is what all units that are not named write together, and the bias. So whatever is named,
the parts sum to what the MLP writes, and the circuit of all of them is the circuit of the MLP.
Units read together what their MLP reads, or each alone (`read_alone`): then each is a receiver too.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from circuitkit.errors import GraphError

NEURON = "neuron"
FEATURE = "feature"
ERROR = "error"
REST = "rest"
LETTERS = {NEURON: "n", FEATURE: "f"}
KINDS = (NEURON, FEATURE, ERROR, REST)  # of parts of an MLP


@dataclass(frozen=True)
class Units:
    """The units that are named of the MLP of one layer, by their numbers.

    `dictionary` is the digest of the dictionary that features are of.

    Raises:
        GraphError: a kind that is none, a number that is negative or stands twice, or features
            without a dictionary.
    """

    layer: int
    kind: str
    numbers: tuple[int, ...]
    read_alone: bool = False
    dictionary: str = ""

    def __post_init__(self) -> None:
        where = f"units of m{self.layer}"
        if self.kind not in LETTERS:
            raise GraphError(
                f"{where}: kind must be one of {', '.join(LETTERS)}, got {self.kind!r}. It says "
                "what the MLP is taken apart into. Choose one."
            )
        if any(number < 0 for number in self.numbers) or len(set(self.numbers)) < len(self.numbers):
            raise GraphError(
                f"{where}: numbers must be different and not negative, got {self.numbers[:10]}. "
                "Each names one unit. Give each once."
            )
        if (self.kind == FEATURE) != bool(self.dictionary):
            raise GraphError(
                f"{where}: features, and they alone, must have a dictionary, got kind "
                f"{self.kind!r} and dictionary {self.dictionary!r}. It says what a feature is. "
                "Give the digest of the dictionary."
            )

    def name_of(self, number: int) -> str:
        """Return the component name of a unit, as `m3.n7`."""
        return f"m{self.layer}.{LETTERS[self.kind]}{number}"

    @cached_property
    def kinds(self) -> dict[str, str]:
        """What every part is, by name and in order: the units, the error, the rest."""
        error = {f"m{self.layer}.{ERROR}": ERROR} if self.kind == FEATURE else {}
        named = {self.name_of(number): self.kind for number in self.numbers}
        return named | error | {f"m{self.layer}.{REST}": REST}

    @property
    def names(self) -> tuple[str, ...]:
        """The component names of all parts."""
        return tuple(self.kinds)

    @property
    def has_error(self) -> bool:
        """Whether something is left out by all units: of features, but not of neurons."""
        return self.kind == FEATURE

    def __str__(self) -> str:
        alone = " that read alone" if self.read_alone else ""
        return f"m{self.layer} in {len(self.numbers)} {self.kind}s{alone}"


def kind_of_unit(name: str) -> str:
    """Return the kind of a unit, given what stands behind the dot of its name."""
    kinds = {letter: kind for kind, letter in LETTERS.items()}
    return name if name in (ERROR, REST) else kinds[name[0]]


def units_to_json(units: Iterable[Units]) -> list[dict[str, Any]]:
    """Return the form that files have."""
    return [{**asdict(each), "numbers": list(each.numbers)} for each in units]


def units_from_json(data: Iterable[Mapping[str, Any]]) -> tuple[Units, ...]:
    """Return the units of the form that files have.

    Raises:
        GraphError: they cannot be.
    """
    return tuple(Units(**{**each, "numbers": tuple(each["numbers"])}) for each in data)


def units_text(units: Iterable[Units]) -> str:
    """Return the form that an attribute of a graph has."""
    return json.dumps(units_to_json(units))


def units_of_text(text: str) -> tuple[Units, ...]:
    """Return the units of `units_text`."""
    return units_from_json(json.loads(text)) if text else ()
