"""The GitHub Action and the example workflow, read as GitHub reads them."""

import re
import tomllib
from pathlib import Path

import pytest

from circuitkit.cli.app import app
from circuitkit.contracts.parsing import KEYS, read_contracts

yaml = pytest.importorskip("yaml", reason="PyYAML reads the workflow")
ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())


def test_the_action_runs_check_and_uses_every_input():
    assert ACTION["runs"]["using"] == "composite"
    text = (ROOT / "action.yml").read_text()
    for name in ("config", "python-version", "install", "args", "junit"):
        assert "default" in ACTION["inputs"][name]
        assert f"${{{{ inputs.{name} }}}}" in text
    assert "circuitkit check" in ACTION["runs"]["steps"][-1]["run"]
    assert "check" in {command.name for command in app.registered_commands}


def test_no_input_is_pasted_into_a_script():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert "run" not in step or step["shell"] == "bash"


def test_the_example_workflow_gives_only_inputs_that_there_are():
    workflow = yaml.safe_load((ROOT / "examples/circuits.yml").read_text())
    [job] = workflow["jobs"].values()
    [step] = [step for step in job["steps"] if "circuitkit" in step.get("uses", "")]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_the_contracts_of_the_pages_can_be_read(tmp_path):
    for page in ("README.md", "docs/contracts.md"):
        [block] = re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
        path = tmp_path / "pyproject.toml"
        path.write_text(block)
        assert [contract.name for contract in read_contracts(path)] == ["ioi"]


def test_the_page_explains_every_key():
    page = (ROOT / "docs/contracts.md").read_text()
    assert all(f"| `{key}` |" in page for key in KEYS)


def test_the_plugin_is_installed_under_its_own_name():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert data["project"]["entry-points"]["pytest11"] == {"circuitkit_pytest": "circuitkit_pytest"}
    assert "circuitkit_pytest" in data["tool"]["setuptools"]["py-modules"]
