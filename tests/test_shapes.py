"""Whether `.ci/shapes` checks shapes at run time, and on tests that are there."""

import re
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from circuitkit.model.attention import per_head

ROOT = Path(__file__).parents[1]


def test_every_path_of_the_run_with_shape_checks_exists():
    script = (ROOT / ".ci" / "shapes").read_text()
    paths = re.findall(r"tests/[\w./]+", script)
    assert {"tests/test_shapes.py", "tests/interventions"} <= set(paths)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_where_shapes_are_checked_a_wrong_one_is_refused(pytestconfig):
    if not pytestconfig.getoption("jaxtyping_packages", None):
        pytest.skip("shapes are checked by .ci/shapes")
    keys = torch.zeros(2, 5, 1, 3)
    assert per_head(keys, 4).shape == (2, 5, 4, 3)
    for wrong in (keys[0], keys.long()):
        with pytest.raises(TypeCheckError):
            per_head(wrong, 4)
