"""What is imported is declared, what is declared is explained and pinned."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OWN = {"circuitkit", "circuitkit_pytest"}
MODULES = {"scikit-learn": "sklearn", "pyyaml": "yaml"}  # where import and package differ
# declared, but not imported by us: why
INDIRECT = {
    "graphviz-pure": "a program, not a module",
    "gguf": "transformers reads files of that format by it",
    **dict.fromkeys(("wandb", "mlflow-skinny", "trackio"), "reporting/loggers.py, by name"),
    "ray": "work/executors/on_ray.py, by name",
}


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()


def module_of(package):
    return MODULES.get(package, package.replace("-", "_"))


@cache
def imported():
    """Return the packages from outside that the product imports, and where."""
    found = {}
    files = [*(ROOT / "circuitkit").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(path)
    return {
        name: places
        for name, places in found.items()
        if name not in OWN and name not in sys.stdlib_module_names
    }


OPTIONS = (
    "probes",
    "bench",
    "frames",
    "gguf",
    "circuitsvis",
    "log-wandb",
    "log-mlflow",
    "log-trackio",
    "ray",
)
MAIN = {name_of(each) for each in PROJECT["dependencies"]}
OPTIONAL = {name_of(each) for extra in OPTIONS for each in EXTRAS[extra]}


def test_everything_that_is_imported_is_declared():
    declared = {module_of(package) for package in MAIN | OPTIONAL}
    undeclared = {name: sorted(map(str, at)) for name, at in imported().items()}
    assert {name: at for name, at in undeclared.items() if name not in declared} == {}


def test_everything_that_is_declared_is_imported_or_has_its_reason():
    unused = {package for package in MAIN | OPTIONAL if module_of(package) not in imported()}
    assert unused == set(INDIRECT)


def test_a_wheel_holds_every_folder_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "circuitkit").rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == folders | {"circuitkit.tasks"}


def test_optional_packages_are_imported_late_alone():
    for package in OPTIONAL:
        for path in imported().get(module_of(package), ()):
            at_once = [
                node
                for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.Import | ast.ImportFrom)
            ]
            names = {getattr(node, "module", None) or node.names[0].name for node in at_once}
            assert not [n for n in names if n.split(".")[0] == module_of(package)], path


@pytest.mark.parametrize("package", sorted(MAIN | OPTIONAL))
def test_every_dependency_is_explained_and_pinned(package):
    page = (ROOT / "docs" / "dependencies.md").read_text()
    assert re.search(rf"(`|\| ){re.escape(package)}(`| \()", page)
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    assert [pin for pin in pins if pin.startswith(f"{package}==")]


def test_the_tests_have_what_the_extras_bring():
    assert "circuitkit-mi[probes,bench,frames]" in EXTRAS["test"]
