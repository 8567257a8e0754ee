"""What type checkers see of the public names: `mypy` checks this file, nothing runs it."""

from typing import assert_type

import circuitkit
from circuitkit import load_circuit
from circuitkit.circuits.circuit import Circuit
from circuitkit.study.records import RunRecord


def check(subject: circuitkit.Subject, settings: circuitkit.Settings) -> None:
    """Use names as a script does."""
    assert_type(settings.n_edges, int)
    assert_type(circuitkit.study(subject, settings), RunRecord)
    assert_type(circuitkit.find_task("ioi").name, str)
    assert_type(circuitkit.__version__, str)
    assert_type(load_circuit("circuit.json"), Circuit)
    circuitkit.nowhere  # type: ignore[attr-defined]  # noqa: B018
