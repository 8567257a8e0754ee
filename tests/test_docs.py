"""Every code block of the README and of docs/ is tried: Python runs, commands parse, data is read.

What a page cannot run says so in a comment in front of the block, `<!-- not run: reason -->`. Those
are listed here, so that nothing is passed over in silence.
"""

import doctest
import json
import re
import shlex
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from circuitkit.circuits.file import SCHEMA
from circuitkit.circuits.recipe import recipe_from_json
from circuitkit.cli.app import app
from circuitkit.contracts.parsing import read_contracts
from circuitkit.control.foretelling.reading import read_interventions
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.validation.criteria import CRITERIA, read_thresholds

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]*) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = {
    ("docs/contracts.md", "names a checkpoint that you have"),
    ("docs/monitoring.md", "names a scorer that you have"),
}
OTHERS = tokenize_pairs([PromptPair([1], [2], [3])])  # in the place of a prompt file
METHODS_PAGE = ROOT / "docs" / "methods" / "README.md"  # its names are those of its neighbours


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    language: str
    text: str
    not_run: str = ""

    @property
    def name(self) -> str:
        return self.page.relative_to(ROOT).as_posix()


def blocks_of(page):
    for found in BLOCK.finditer(page.read_text()):
        text = textwrap.dedent(found["text"])
        yield Block(page, found["language"], text, found["reason"] or "")


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def in_language(*languages):
    return [block for block in BLOCKS if block.language in languages]


def pages_with_python():
    return list(dict.fromkeys(block.page for block in in_language("python")))


@pytest.fixture
def at_root_of_a_copy(tmp_path, monkeypatch):
    """Stand in an empty folder with the circuits and examples of the repository."""
    for name in ("circuits", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", pages_with_python(), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_python_of_a_page_runs(page, at_root_of_a_copy, capsys):
    names = {"__name__": "page"}
    beside_methods = page.parent == METHODS_PAGE.parent and page != METHODS_PAGE
    before = blocks_of(METHODS_PAGE) if beside_methods else ()
    for block in [*before, *blocks_of(page)]:
        if block.language != "python" or block.not_run:
            continue
        if block.text.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block.text, names, block.name, None, 0)
            assert doctest.DocTestRunner().run(test).failed == 0, capsys.readouterr().out
            continue
        exec(compile(block.text, block.name, "exec"), names)


def command_lines():
    for block in in_language("bash"):
        text = block.text.replace("\\\n", " ")
        for part in re.split(r"\n|&&", text):
            words = shlex.split(part, comments=True)
            if words and words[0] == "circuitkit":
                yield pytest.param(words[1:], id=f"{block.name}: {' '.join(words)}")


def parse_command(words):
    """Parse a command line as `circuitkit` would, without running it."""
    group = typer.main.get_command(app)
    with group.make_context("circuitkit", list(words)) as context:
        _, command, rest = group.resolve_command(context, words)
        command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("words", list(command_lines()))
def test_a_command_line_of_a_page_names_a_command_and_options_that_exist(words):
    parse_command(words)


@pytest.mark.parametrize("line", ["run ioi --no-such-option", "run ioi --n many", "no-such"])
def test_a_line_that_could_not_run_would_be_noticed(line):
    with pytest.raises(Exception, match=r"No such option|a valid integer|No such command"):
        parse_command(line.split())


@pytest.mark.parametrize("block", in_language("toml"), ids=lambda b: b.name)
def test_toml_of_a_page_is_what_circuitkit_reads(block, tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(block.text)
    data = tomllib.loads(block.text)
    if "tool" in data:
        assert read_contracts(path)
    elif "intervention" in data:
        assert len(read_interventions(path, lambda _: None, lambda _: OTHERS)) == 5
    elif "project" not in data:
        assert set(data) <= set(CRITERIA)
        assert read_thresholds(path)


@pytest.mark.parametrize("block", in_language("json"), ids=lambda b: b.name)
def test_json_of_a_page_is_what_circuitkit_reads(block):
    data = json.loads(block.text)
    if "circuitkit" in data:
        assert data["circuitkit"]["schema"] == SCHEMA
        assert recipe_from_json(data["circuitkit"]["recipe"]).is_known
    else:
        assert {"clean", "corrupted", "answers"} <= set(data)


def test_every_block_says_its_language():
    assert {block.language for block in BLOCKS} == {"bash", "json", "python", "text", "toml"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_code_stand_in_fences_where_they_are_tried(page):
    prose = BLOCK.sub("", page.read_text())
    assert not re.findall(r"^ {4,}(?:circuitkit|from \w+ import|import) .*", prose, re.M)


def test_what_is_not_run_is_known():
    assert {(block.name, block.not_run) for block in BLOCKS if block.not_run} == NOT_RUN
