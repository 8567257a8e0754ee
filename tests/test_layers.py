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
            whole = node.module == "circuitkit"
            names += [f"circuitkit.{alias.name}" for alias in node.names] if whole else []
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


def opens_fast(path: Path) -> bool:
    """Return whether a file is of the command line that help opens: all but what commands do."""
    return layer_of(path) == "cli" and path.parent.name == "cli"


def is_loading(node: ast.stmt) -> bool:
    place = getattr(node, "module", "")
    return place == "circuitkit.cli.app" or place.startswith("circuitkit.cli.actions.")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_hides_inside_a_function_and_none_is_postponed(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            if opens_fast(path):  # a command loads what it does when it is given
                inner = [n for n in inner if not is_loading(n)]
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


@pytest.mark.parametrize("path", [path for path in FILES if opens_fast(path)], ids=lambda p: p.stem)
def test_what_help_opens_imports_nothing_of_the_library_at_its_top(path):
    top = ast.parse(path.read_text()).body
    for node in top:
        place = getattr(node, "module", None) or ""
        if isinstance(node, ast.ImportFrom) and place.startswith("circuitkit."):
            assert not place.startswith("circuitkit.cli.actions"), place
            assert place.split(".")[1] in {"cli", "names", "errors"}, place


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_typer_is_imported_by_the_command_line_alone(path):
    words = re.findall(r"^\s*(?:import|from)\s+(\w+)", path.read_text(), re.MULTILINE)
    assert layer_of(path) == "cli" or not {"typer", "click"} & set(words)
    assert path.parent.name != "actions" or "typer" not in words


def test_nothing_but_python_m_circuitkit_imports_the_command_line():
    users = [path for path in FILES if "cli" in imported_layers(path) and layer_of(path) != "cli"]
    assert [path.name for path in users] == ["__main__.py"]


def functions_of_the_command_line():
    for path in FILES:
        if layer_of(path) == "cli":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    yield path, node


def test_no_command_takes_more_than_eight_parameters_and_no_other_function_more_than_six():
    for path, node in functions_of_the_command_line():
        is_command = any(getattr(each, "id", "") == "command" for each in node.decorator_list)
        arguments = [*node.args.args, *node.args.kwonlyargs]
        assert len(arguments) <= (8 if is_command else 6), f"{path.name}: {node.name}"


def test_no_function_of_the_command_line_is_longer_than_forty_lines():
    for path, node in functions_of_the_command_line():
        assert node.end_lineno - node.lineno < 40, f"{path.name}: {node.name}"
