"""Contracts from pyproject.toml. Whatever is not understood is refused: it would not be judged.

    [[tool.circuitkit.contract]]
    circuit = "circuits/ioi.json"
    faithfulness = { min = 0.85, ablation = "mean" }
    max_edges = 120                                    # short for edges = { max = 120 }
    drift = { baseline = "circuits/ioi.json", min_jaccard = 0.8 }

Paths are relative to the file.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuitkit.circuits.file_checks import MAX_SEED
from circuitkit.circuits.published.catalogue import is_published
from circuitkit.contracts.contract import DRIFT, Contract, Drift, Requirement
from circuitkit.errors import ContractError
from circuitkit.interventions.ablation import require_ablation
from circuitkit.prompts.pairs import MAX_PAIRS
from circuitkit.statistics.bound import Bound
from circuitkit.validation.criteria import CRITERIA, parse_bounds
from circuitkit.work.files import is_folder
from circuitkit.work.hub import is_address
from circuitkit.work.reading import UnreadableError, parse_toml, read_text_file
from circuitkit.work.text import cut, error_text, one_line, shown
from circuitkit.zoo import zoo_models

WORDS = ("name", "circuit", "model", "task", "prompts", "ablation")
NUMBERS = {"n": (1, MAX_PAIRS), "seed": (0, MAX_SEED)}  # and what they may be
MAX_EDGES = "max_edges"
KEYS = (*WORDS, *NUMBERS, MAX_EDGES, DRIFT)


def read_contracts(path: Path) -> tuple[Contract, ...]:
    """Return the contracts of a pyproject.toml, in its order.

    Raises:
        ContractError: the file cannot be read, holds no contract, or one that is not understood.
        CriterionError, MethodError: a bound is not one, or an ablation is unknown.
    """
    tables = _tables(path)
    if not tables:
        raise ContractError(
            f"{path}: must hold a contract, got none. Nothing would be judged, and nothing is not "
            "a pass. Add [[tool.circuitkit.contract]] with circuit = ... and a criterion; see "
            "docs/contracts.md."
        )
    contracts = tuple(_contract(table, path, i) for i, table in enumerate(tables, 1))
    names = Counter(contract.name for contract in contracts)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ContractError(
            f"{path}: contracts must have different names, got {', '.join(map(repr, twice))} "
            "more than once. Reports could not tell them apart. Give each a name = ..."
        )
    return contracts


def _tables(path: Path) -> list[Any]:
    try:
        data = parse_toml(read_text_file(path))
    except (FileNotFoundError, UnreadableError) as error:
        raise ContractError(
            f"{path}: must be a readable TOML file, got {error_text(error)}. It holds the "
            "contracts. Correct it, or name another with --config."
        ) from error
    tool = data.get("tool", {})
    section = tool.get("circuitkit", {}) if isinstance(tool, dict) else {}
    tables = section.get("contract", []) if isinstance(section, dict) else section
    unknown = sorted(set(section) - {"contract"}) if isinstance(section, dict) else []
    if unknown or not isinstance(tables, list):
        raise ContractError(
            f"{path}: [tool.circuitkit] must hold tables [[tool.circuitkit.contract]], got "
            f"{cut(one_line(', '.join(unknown))) or type(tables).__name__}. It would not be "
            "judged. Write each contract below a line of its own with double brackets."
        )
    return tables


def _contract(table: Any, path: Path, number: int) -> Contract:
    where = f"{path}, contract {number}"
    if not isinstance(table, dict):
        raise ContractError(
            f"{where}: must be a table, got {shown(table)}. Its keys say what is claimed. Write it "
            "below [[tool.circuitkit.contract]]."
        )
    words = {key: _word(table, key, where) for key in WORDS}
    if not words["circuit"]:
        raise ContractError(
            f"{where}: circuit must be given, got none. It is what is judged. Add circuit = "
            '"circuits/ioi.json".'
        )
    name = words["name"] or Path(words["circuit"]).stem
    where = f"{path}, contract {shown(name)}"
    _require_plain(name, where)
    _require_known(table, where)
    _require_one_source(table, where)
    root = path.parent
    return Contract(
        config=path,
        name=name,
        circuit=_circuit(words["circuit"], root),
        model=located_model(words["model"], root),
        task=_task(words["task"], root),
        prompts=root / words["prompts"] if words["prompts"] else None,
        n=_count(table, "n", where) or 100,
        seed=_count(table, "seed", where),
        ablation=require_ablation(words["ablation"], f"{where}: ablation")
        if words["ablation"]
        else "",
        requirements=_requirements(table, where),
        drift=_drift(table[DRIFT], root, where) if DRIFT in table else None,
    )


def located_model(name: str, root: Path) -> str:
    """Return a model's name, or the path of the directory below `root` if it names one."""
    is_ours = any(model.name == name for model in zoo_models())
    return str(root / name) if name and not is_ours and is_folder(root / name) else name


def _circuit(name: str, root: Path) -> Path:
    """Return a circuit file below `root`, the address of one on the Hub, or a published one."""
    return Path(name) if is_address(name) or is_published(name) else root / name


def _task(spec: str, root: Path) -> str:
    file, colon, name = spec.partition(":")
    return f"{root / file}{colon}{name}" if file.endswith(".py") else spec


def _word(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or (key in table and not value.strip()):
        raise ContractError(
            f"{where}: {key} must be a text, got {shown(value)}. It is a name or a path. Correct "
            "it, or leave it out."
        )
    return value


def _count(table: Mapping[str, Any], key: str, where: str) -> int | None:
    value = table.get(key)
    if value is None:
        return None
    least, most = NUMBERS[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ContractError(
            f"{where}: {key} must be a whole number from {least} to {most}, got {shown(value)}. It "
            "says on which pairs the circuit is judged. Correct it, or leave it out."
        )
    return value


def _require_plain(name: str, where: str) -> None:
    if "::" in name or not name.isprintable() or name != name.strip():
        raise ContractError(
            f"{where}: name must be printable, without :: or spaces around it, got {shown(name)}. "
            "Test ids are made of it. Give another with name = ..."
        )


def _require_known(table: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(table) - set(KEYS) - set(CRITERIA))
    if unknown:
        raise ContractError(
            f"{where}: keys must be among {', '.join(KEYS)} or a criterion ({', '.join(CRITERIA)})"
            f", got {cut(', '.join(map(shown, unknown)))}. It would not be judged. Correct it."
        )
    if not set(table) & {MAX_EDGES, DRIFT, *CRITERIA}:
        raise ContractError(
            f"{where}: must hold a criterion, {MAX_EDGES} or {DRIFT}, got none. It would hold "
            "whatever the model does. Add one, as faithfulness = { min = 0.85 }."
        )


def _require_one_source(table: Mapping[str, Any], where: str) -> None:
    for other in ("task", "n"):
        if "prompts" in table and other in table:
            raise ContractError(
                f"{where}: prompts must come without {other}, got both. All validation pairs of a "
                f"prompt file are used, and no task. Leave out {other}, or prompts."
            )
    if "edges" in table and MAX_EDGES in table:
        raise ContractError(
            f"{where}: edges must be bound once, got edges and {MAX_EDGES}. They are the same "
            "criterion. Keep one of them."
        )


def _requirements(table: Mapping[str, Any], where: str) -> tuple[Requirement, ...]:
    found = {name: table[name] for name in table if name in CRITERIA}
    if MAX_EDGES in table:
        found["edges"] = {"max": table[MAX_EDGES]}
    return tuple(_requirement(name, value, where) for name, value in found.items())


def _requirement(name: str, value: Any, where: str) -> Requirement:
    asked = dict(value) if isinstance(value, dict) else value
    ablation = asked.pop("ablation", "") if isinstance(asked, dict) else ""
    if ablation != "":
        require_ablation(ablation, f"{where}: {name}.ablation")
    bound = parse_bounds({name: asked}, where)[name] if asked != {} else Bound()
    _require_bound(name, bound, where)
    return Requirement(name, bound, ablation)


def _require_bound(name: str, bound: Bound, where: str) -> None:
    if bound.is_open:
        raise ContractError(
            f"{where}: {name} must have a min or a max, got neither. Nothing would be asked. Write "
            f"it as {name} = {{ min = 0.8 }}."
        )


def _drift(value: Any, root: Path, where: str) -> Drift:
    is_table = isinstance(value, dict) and set(value) == {"baseline", "min_jaccard"}
    baseline = value["baseline"] if is_table else ""
    least = value["min_jaccard"] if is_table else None
    is_share = isinstance(least, int | float) and not isinstance(least, bool) and 0 < least <= 1
    if not isinstance(baseline, str) or not baseline or not is_share:
        raise ContractError(
            f"{where}: drift must be a table of baseline and min_jaccard above 0 and at most 1, "
            f"got {shown(value)}. A circuit file and the share of edges that must be left say what "
            'has drifted. Write drift = { baseline = "circuits/ioi.json", min_jaccard = 0.8 }.'
        )
    assert least is not None, "a share is a number"
    return Drift(_circuit(baseline, root), float(least))
