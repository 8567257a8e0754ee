"""The import direction: a file imports only from files earlier in the list."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    ["names", "moved"],
    ["errors"],
    ["work"],
    ["prompts"],
    ["circuits"],
    ["metrics"],
    ["task"],
    ["statistics"],
    ["model"],
    ["zoo"],
    ["interventions"],
    ["gradients"],
    ["discovery", "validation"],
    ["interpretation"],
    ["study"],
    ["reporting"],
    ["contracts"],
    ["bench"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FILES = sorted((ROOT / "circuitkit").rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT / "circuitkit").parts[0].removesuffix(".py")


def imported_layers(path: Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "circuitkit" and len(part) > 1}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_up_the_tree(path):
    own = layer_of(path)
    if own == "__init__":
        return  # the public names come from everywhere
    for layer in imported_layers(path):
        assert layer == own or RANK[layer] < RANK[own], f"{own} imports {layer}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_hides_inside_a_function_and_none_is_postponed(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"import inside {node.name}"
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__"


def test_tasks_are_never_imported_by_the_framework():
    for path in FILES:
        assert "tasks" not in imported_layers(path), path


def test_only_one_file_spells_hook_names():
    for path in FILES:
        if path.name != "hook_points.py":
            text = path.read_text()
            # weights of state dicts are named in their loader, and where they are written by hand
            names_weights = path.name in ("state_dicts.py", "blueprint.py")
            assert names_weights or not re.search(r"blocks\.[\d{]", text), path
            assert "hook_in" not in text, path
            assert "hook_out" not in text, path
