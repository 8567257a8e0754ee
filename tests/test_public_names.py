"""The public names: each is there, is what type checkers see, and is loaded when first used."""

import ast
import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import circuitkit

SOURCE = Path(circuitkit.__file__)
SLOW = {"torch", "transformers", "transformer_lens", "matplotlib", "scipy", "sklearn", "pyarrow"}
SLOW |= {"networkx", "numpy", "pandas", "jinja2", "cattrs", "typer", "rich"}


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def seen_by_type_checkers():
    """Return the module that each name is imported from where only a type checker looks."""
    block = next(node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If))
    return {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("name", circuitkit.__all__)
def test_every_public_name_is_found_and_has_a_docstring(name):
    found = getattr(circuitkit, name)
    assert inspect.getdoc(found), name
    assert not inspect.ismodule(found) or callable(found), name


def test_type_checkers_see_exactly_the_names_that_are_found_and_in_the_same_places():
    assert seen_by_type_checkers() == circuitkit._PLACE_OF
    assert {*circuitkit._PLACE_OF, "__version__"} == set(circuitkit.__all__)
    assert len(circuitkit.__all__) == len(set(circuitkit.__all__))


def test_dir_lists_the_public_names_and_nothing_else_before_and_after_one_is_used():
    code = "import circuitkit as ck; print(dir(ck) == sorted(ck.__all__), end=' '); "
    code += "ck.errors; ck.Circuit; print(dir(ck) == sorted(ck.__all__))"
    assert run_python(code) == "True True"


def test_import_star_brings_every_public_name():
    space = {}
    exec("from circuitkit import *", space)
    assert set(circuitkit.__all__) <= set(space)


def test_importing_the_package_loads_nothing_slow():
    code = "import sys, circuitkit; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run_python(code).split())
    assert not loaded & SLOW
    assert "circuitkit" in loaded


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nowhere'"):
        circuitkit.nowhere  # noqa: B018
    with pytest.raises(ImportError):
        exec("from circuitkit import nowhere")


def test_modules_are_found_as_attributes_without_importing_them():
    code = "import circuitkit; print(circuitkit.errors.PromptError.__name__)"
    assert run_python(code) == "PromptError"


def test_study_is_a_function_and_still_a_package_once_it_was_used():
    code = "import circuitkit; print(callable(circuitkit.study), end=' '); "
    code += "import circuitkit.study.settings as s; print(s.Settings is circuitkit.Settings)"
    assert run_python(code) == "True True"


def test_calling_study_is_calling_the_pipeline(monkeypatch):
    monkeypatch.setattr("circuitkit.study.pipeline.study", lambda *words, **more: (words, more))
    assert circuitkit.study(1, 2, explained=True) == ((1, 2), {"explained": True})


def test_the_version_is_that_of_the_distribution():
    assert circuitkit.__version__ == version("circuitkit-mi")
