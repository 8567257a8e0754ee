"""Old names work for one version, and say where they are now."""

import importlib
import sys
import warnings

import pytest

import circuitkit
from circuitkit.moved import MODULES, NAMES, MovedModules, find_moved_modules

PLACES = [(module, name) for module, names in NAMES.items() for name in names]


def place_of(path):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(f"circuitkit.{module}"), name)


@pytest.mark.parametrize("old", MODULES)
def test_a_module_that_moved_is_found_with_a_warning_and_holds_what_it_holds_now(old):
    sys.modules.pop(f"circuitkit.{old}", None)
    with warnings.catch_warnings(action="ignore"):  # the package that holds it may warn, too
        importlib.import_module(f"circuitkit.{old}".rpartition(".")[0])
    with pytest.warns(DeprecationWarning, match=f"circuitkit.{old} is circuitkit.{MODULES[old]} "):
        moved = importlib.import_module(f"circuitkit.{old}")
    now = importlib.import_module(f"circuitkit.{MODULES[old]}")
    shared = {name for name in vars(now) if not name.startswith("__")}
    assert all(getattr(moved, name) is getattr(now, name) for name in shared)
    assert MODULES[old].startswith("bench") or shared
    assert now.__spec__.name == f"circuitkit.{MODULES[old]}"


@pytest.mark.parametrize(("module", "name"), PLACES)
def test_a_name_that_moved_is_found_with_a_warning(module, name):
    whole = f"circuitkit.{module}".removesuffix(".")
    sys.modules.pop(whole if module in MODULES else "", None)
    vars(circuitkit).pop(name, None)
    with pytest.warns(DeprecationWarning, match="now. The old name goes in the next version"):
        found = getattr(importlib.import_module(whole), name)
    assert found is place_of(NAMES[module][name])


@pytest.mark.parametrize(
    "code",
    [
        "from circuitkit import Swap, measure_swap",
        "from circuitkit.prompts import PromptPair, fill",
        "from circuitkit.swap import Swap, FaithfulnessDifference",
        "from circuitkit.circuit import Circuit",
        "from circuitkit.scoreboard.run import Plan",
        "import circuitkit.interventions.columns as columns; columns.by_role",
        "import circuitkit; circuitkit.graph.ComponentGraph",
        "from circuitkit.interventions.path_patching import Path",
    ],
)
def test_code_of_the_last_version_runs(code):
    for name in [f"circuitkit.{old}" for old in MODULES]:
        sys.modules.pop(name, None)
    for name in ("Swap", "measure_swap", "graph"):
        vars(circuitkit).pop(name, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(code)
    assert {each.category for each in caught} == {DeprecationWarning}


def test_the_warning_points_at_the_line_that_asked(tmp_path, monkeypatch):
    (tmp_path / "users_script.py").write_text("x = 1\nimport circuitkit.tokenization\n")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("circuitkit.tokenization", None)
    with pytest.warns(DeprecationWarning, match="circuitkit.tokenization is") as caught:
        importlib.import_module("users_script")
    assert [(each.filename, each.lineno) for each in caught] == [
        (str(tmp_path / "users_script.py"), 2)
    ]


@pytest.mark.parametrize("name", ["circuitkit.nowhere", "circuitkit.prompts.nowhere", "nowhere"])
def test_what_never_was_there_is_not_found(name):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_a_name_that_a_module_never_had_is_an_attribute_error():
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from circuitkit.prompts import nothing")


def test_moved_modules_are_asked_for_last_and_once():
    find_moved_modules()
    finders = [i for i, each in enumerate(sys.meta_path) if isinstance(each, MovedModules)]
    assert len(finders) == 1
    assert type(sys.meta_path[0]) is not MovedModules
