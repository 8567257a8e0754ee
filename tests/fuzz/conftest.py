"""The record of the reports' tests, as a run directory to damage."""

from tests.reporting.conftest import (  # noqa: F401
    circuit,
    curve,
    heat_map,
    interpreted,
    record,
)
