"""The pytest plugin: `pytest --circuits` judges the contracts of the root's pyproject.toml.

One item for each criterion of each contract, as `pyproject.toml::ioi::faithfulness`, so that -k, -m
circuit, ids and xdist work. What could not be judged fails, as what is broken does; nothing skips.

A module beside the package, not in it: pytest loads its plugins before every run of every project
in the environment, and importing anything of circuitkit imports torch and TransformerLens, which
takes seconds. Here they are imported when the first contract is read.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CASES = pytest.StashKey[Any]()  # one a process: models are loaded once


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --circuits."""
    parser.getgroup("circuitkit").addoption(
        "--circuits",
        action="store_true",
        help="Also judge the contracts of the root directory's pyproject.toml.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and add pyproject.toml to what is collected."""
    config.addinivalue_line("markers", "circuit: a criterion of a contract about a circuit")
    if config.getoption("--circuits"):
        config.args[:] = with_contracts(config.args, config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return the contracts of the root's pyproject.toml, if they were asked for."""
    config = parent.config
    if not config.getoption("--circuits") or file_path != contracts_file(config):
        return None
    contracts: ContractFile = ContractFile.from_parent(parent, path=file_path)
    return contracts


@pytest.fixture(scope="session")
def circuit_contracts(pytestconfig: pytest.Config) -> tuple[Any, ...]:
    """The contracts of the root directory's pyproject.toml, as they are read."""
    return read(contracts_file(pytestconfig))


class ContractFile(pytest.File):
    """A pyproject.toml."""

    def collect(self) -> Iterator["ContractNode"]:
        """Yield its contracts; one that cannot be read is an error of collection."""
        errors = importlib.import_module("circuitkit.errors")
        try:
            contracts = read(self.path)
        except errors.CircuitkitError as error:
            raise self.CollectError(str(error)) from error
        for contract in contracts:
            yield ContractNode.from_parent(self, name=contract.name, contract=contract)


class ContractNode(pytest.Collector):
    """A contract."""

    def __init__(self, *, contract: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.contract = contract

    def collect(self) -> Iterator["RequirementItem"]:
        """Yield what it requires."""
        for criterion in self.contract.criteria:
            item: RequirementItem = RequirementItem.from_parent(self, name=criterion)
            item.contract = self.contract
            item.add_marker("circuit")
            yield item


class RequirementItem(pytest.Item):
    """One criterion of a contract."""

    contract: Any

    def runtest(self) -> None:
        """Judge it. The failure is the message alone: a traceback would say nothing more."""
        check = importlib.import_module("circuitkit.contracts.check")
        result = check.check_item(self.contract, self.name, cases_of(self.config))
        if result.outcome != check.HOLDS:
            pytest.fail(f"{result.outcome}: {result.message}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return how reports name it."""
        return self.path, None, f"{self.contract.name}::{self.name}"


def contracts_file(config: pytest.Config) -> Path:
    """Return the file that holds the contracts."""
    return config.rootpath / "pyproject.toml"


def with_contracts(args: list[str], config: pytest.Config) -> list[str]:
    """Return what is to be collected, with the contracts' file if nothing there covers it."""
    file = contracts_file(config)
    started = config.invocation_params.dir
    covered = [(started / arg.partition("::")[0]).resolve() for arg in args]
    is_covered = any(file == path or path in file.parents for path in covered)
    return args if is_covered else [*args, str(file)]


def read(path: Path) -> tuple[Any, ...]:
    """Return the contracts of a file."""
    contracts: tuple[Any, ...] = importlib.import_module(
        "circuitkit.contracts.parsing"
    ).read_contracts(path)
    return contracts


def cases_of(config: pytest.Config) -> Any:
    """Return where contracts are judged, made once for the whole run."""
    if CASES not in config.stash:
        config.stash[CASES] = importlib.import_module("circuitkit.contracts.cases").ContractCases()
    return config.stash[CASES]
