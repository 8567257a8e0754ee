from dataclasses import replace
from functools import cached_property

import pytest

from circuitkit.bench.calibration.faults import subject_on
from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.roles.claims import roles_from
from circuitkit.interpretation.roles.evidence import Evidence
from circuitkit.study.cases import case_of
from circuitkit.study.settings import Settings
from circuitkit.zoo.planted import planted

N_PAIRS = 64


class Interpreted:
    """A planted model, with the evidence and the roles of all its components."""

    def __init__(self, name):
        self.instance = planted(name)
        model = self.instance.model()
        subject = subject_on(model, self.instance.task, N_PAIRS)
        whole = Circuit.full(model.graph)
        self.case = case_of(subject, whole, Settings(ablation="resample"))
        self.evidence = Evidence(self.case)

    @cached_property
    def roles(self):
        return roles_from(self.evidence)

    def of(self, planted_role):
        """The claimed roles of what was planted under a name, as {(kind, name)}."""
        roles = self.roles[self.instance.components[planted_role]]
        return {(role.kind, role.name) for role in roles if role.claimed}


@pytest.fixture(scope="session")
def interpreted():
    """Return a planted model by name, interpreted once a session."""
    known = {}

    def made(name):
        if name not in known:
            known[name] = Interpreted(name)
        return known[name]

    return made


@pytest.fixture
def with_circuit():
    """Return the case of another circuit in the same model, with nothing measured."""

    def made(case, circuit):
        return replace(case, circuit=circuit)

    return made
