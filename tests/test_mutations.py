"""The planted faults of benchmarks/mutations.py: each is of a line that is there."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_fault_is_planted_in_one_place_of_the_code(monkeypatch):
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "benchmarks/mutations.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutations", module)
    spec.loader.exec_module(module)
    places = {
        fault.name: (ROOT / "circuitkit" / fault.file).read_text().count(fault.old)
        for fault in module.FAULTS
    }
    assert len(places) == len(module.FAULTS) > 60
    assert {name: n for name, n in places.items() if n != 1} == {}
