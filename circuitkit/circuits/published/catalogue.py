"""Published circuits by name: `published:ioi-wang` stands wherever a circuit file may stand."""

from difflib import get_close_matches
from pathlib import Path

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.published import docstring, greater_than, ioi
from circuitkit.circuits.published.entry import Published
from circuitkit.errors import CircuitFileError
from circuitkit.work.text import shown

PREFIX = "published:"
PUBLISHED = {
    each.name: each
    for each in (ioi.NODES, ioi.EDGES, greater_than.NODES, greater_than.EDGES, docstring.EDGES)
}


def is_published(path: str | Path) -> bool:
    """Return whether this names a published circuit, and no file."""
    return str(path).startswith(PREFIX)


def published_entry(path: str | Path) -> Published:
    """Return what is known of `published:NAME`.

    Raises:
        CircuitFileError: there is no such circuit.
    """
    name = str(path).removeprefix(PREFIX)
    if name not in PUBLISHED:
        near = get_close_matches(name, PUBLISHED, n=1)
        remedy = f"Did you mean {PREFIX}{near[0]}?" if near else "`circuitkit circuits` lists them."
        raise CircuitFileError(
            f"circuit {shown(str(path))}: must be one of "
            f"{', '.join(PREFIX + each for each in PUBLISHED)}, got another name. It says which "
            f"paper's circuit is meant. {remedy}"
        )
    return PUBLISHED[name]


def published_circuit(path: str | Path) -> Circuit:
    """Return the circuit of `published:NAME`, with the task and the model of its paper.

    Raises:
        CircuitFileError: there is no such circuit.
    """
    return published_entry(path).circuit
