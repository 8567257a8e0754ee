"""The import direction: a file imports only from files earlier in the list."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = [
    ["names", "moved"],
    ["errors"],
    ["glossary"],
    ["work"],
    ["prompts"],
    ["circuits"],
    ["metrics"],
    ["task"],
    ["statistics"],
    ["model"],
    ["dictionaries"],
    ["zoo"],
    ["interventions"],
    ["gradients"],
    ["attribution"],
    ["discovery", "validation"],
    ["interpretation"],
    ["abstraction"],
    ["control"],
    ["study"],
    ["reporting"],
    ["contracts"],
    ["bench"],
    ["cli"],
    ["__main__"],
]
# Imports inside functions: libraries that are loaded when they are needed, and may be absent.
LATE = {
    "bench/scoreboard/recovery.py": {"sklearn.metrics"},
    "interpretation/attention_view.py": {"circuitsvis.attention"},
    "interpretation/directions/probes.py": {"sklearn.linear_model", "sklearn.preprocessing"},
    "reporting/figures.py": {"circuitkit.reporting"},  # plots.py and method_plot.py
    "reporting/frames.py": {"pandas"},
    "reporting/render.py": {"circuitkit.reporting.page"},
    "work/hub.py": {"huggingface_hub"},  # slow, and only addresses need it
}
MAX_LINES, MAX_PARAMETERS = 40, 6  # of a function
MANY_PARAMETERS = {
    "contracts/asserting.py": {"assert_faithful"},
    "discovery/eap.py": {"score_edges"},
    "discovery/eap_ig.py": {"score_edges"},
    "interventions/edges.py": {"measure_edges"},
    "interventions/patching.py": {"patch_activations", "patch_places"},
    "interventions/path_patching.py": {"patch_paths"},
    "interventions/run_circuit.py": {"evaluate_circuits"},
    "model/subject.py": {"run_from"},
    "zoo/catalogue.py": {"load_model"},
}
LIGHT = {"cli", "names", "errors", "glossary"}  # what help opens
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FILES = sorted((ROOT / "circuitkit").rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT / "circuitkit").parts[0].removesuffix(".py")


def imported_layers(path: Path) -> set[str]:
    names = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = node.module == "circuitkit"
            names += [f"circuitkit.{alias.name}" for alias in node.names] if whole else []
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "circuitkit" and len(part) > 1}


def test_imports_point_up_the_tree():
    wrong = []
    for path in FILES:
        own = layer_of(path)
        if own == "__init__":
            continue  # the public names come from everywhere
        for layer in sorted(imported_layers(path)):
            if layer != own and not RANK[layer] < RANK[own]:
                wrong.append(f"{path.relative_to(ROOT)}: {own} imports {layer}")
    assert wrong == []


def opens_fast(path: Path) -> bool:
    """Return whether a file is of the command line that help opens: all but what commands do."""
    return layer_of(path) == "cli" and path.parent.name == "cli"


def is_loading(node: ast.stmt) -> bool:
    place = getattr(node, "module", "")
    return place == "circuitkit.cli.app" or place.startswith("circuitkit.cli.actions.")


def test_no_import_hides_inside_a_function_and_none_is_postponed():
    wrong = []
    for path in FILES:
        allowed = LATE.get(path.relative_to(ROOT / "circuitkit").as_posix(), set())
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
                if opens_fast(path):  # a command loads what it does when it is given
                    inner = [n for n in inner if not is_loading(n)]
                late = [n for n in inner if getattr(n, "module", None) not in allowed]
                wrong += [f"{path.relative_to(ROOT)}: import inside {node.name}" for _ in late]
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                wrong.append(f"{path.relative_to(ROOT)}: a postponed import")
    assert wrong == []
    assert len(FILES) > 100


def test_tasks_are_never_imported_by_the_framework():
    for path in FILES:
        assert "tasks" not in imported_layers(path), path


def test_only_one_file_spells_hook_names():
    for path in FILES:
        if path.name != "hook_points.py":
            text = path.read_text()
            # weights of state dicts are named in their loader, and where they are written by hand
            names_weights = path.name in (
                "state_dicts.py", "namings.py", "blueprint.py",
                "hooks.py", "saelens.py", "transcoder_sets.py",
            )  # fmt: skip
            assert names_weights or not re.search(r"blocks\.[\d{]", text), path
            # what files of other tools call places
            names_places = path.name in ("hooks.py", "saelens.py")
            assert names_places or "hook_in" not in text, path
            assert names_places or "hook_out" not in text, path


def test_what_help_opens_imports_nothing_of_the_library_at_its_top():
    for path in FILES:
        for node in parsed(path).body if opens_fast(path) else ():
            place = getattr(node, "module", None) or ""
            if isinstance(node, ast.ImportFrom) and place.startswith("circuitkit."):
                assert not place.startswith("circuitkit.cli.actions"), (path, place)
                # these need nothing but re, signal and traceback
                light = ("text", "interrupts", "strangers")
                is_light = place in {f"circuitkit.work.{name}" for name in light}
                assert is_light or place.split(".")[1] in LIGHT, (path, place)


def test_typer_is_imported_by_the_command_line_alone():
    for path in FILES:
        words = re.findall(r"^\s*(?:import|from)\s+(\w+)", path.read_text(), re.MULTILINE)
        assert layer_of(path) == "cli" or not {"typer", "click"} & set(words), path
        assert path.parent.name != "actions" or "typer" not in words, path


def test_nothing_but_python_m_circuitkit_imports_the_command_line():
    users = [path for path in FILES if "cli" in imported_layers(path) and layer_of(path) != "cli"]
    assert [path.name for path in users] == ["__main__.py"]


def functions_of_the_command_line():
    for path in FILES:
        if layer_of(path) == "cli":
            for node in ast.walk(parsed(path)):
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


def functions() -> list[tuple[str, ast.FunctionDef]]:
    """Return every function of the package, by the file that it is in."""
    return [
        (path.relative_to(ROOT / "circuitkit").as_posix(), node)
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
    ]


def test_a_function_can_be_seen_at_once():
    lines = {
        f"{file}: {function.name}": function.end_lineno - function.lineno + 1
        for file, function in functions()
    }
    long = {name: n for name, n in lines.items() if n > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines; a part of it waits for a name: {long}"


def test_a_function_has_few_parameters():
    """Public calls that were there before the rule may keep theirs: users have written them."""
    many, kept = {}, set()
    for file, function in functions():
        arguments = function.args
        names = [each.arg for each in arguments.posonlyargs + arguments.args]
        by_place = len(names[names[:1] in (["self"], ["cls"]) :])
        n = by_place + len(arguments.kwonlyargs)
        if n <= MAX_PARAMETERS:
            continue
        if function.name in MANY_PARAMETERS.get(file, ()) and by_place <= 5:
            kept.add((file, function.name))
        else:
            many[f"{file}: {function.name}"] = n
    assert not many, (
        f"over {MAX_PARAMETERS} parameters; some belong together, as a frozen dataclass: {many}. "
        "MANY_PARAMETERS names public calls of at most five by place, the others by keyword."
    )
    assert kept == {(file, name) for file, some in MANY_PARAMETERS.items() for name in some}
