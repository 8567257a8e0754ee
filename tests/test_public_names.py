import inspect

import circuitkit


def test_all_is_exactly_what_can_be_used():
    offered = {
        name
        for name, value in vars(circuitkit).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert offered == set(circuitkit.__all__)


def test_every_public_name_has_a_docstring():
    for name in circuitkit.__all__:
        assert inspect.getdoc(getattr(circuitkit, name)), name
