"""Tables and verdicts in a narrow terminal: every word is whole, and no line is too long."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitkit.cli import terminal
from circuitkit.cli.actions import compare as comparing
from circuitkit.cli.actions import shown as showing
from circuitkit.cli.actions.shown import notes_of, show_verdict
from circuitkit.cli.app import app
from circuitkit.cli.terminal import PlainConsole, filled, show_table
from circuitkit.interpretation.comparison import PairComparison, compare
from circuitkit.interpretation.file import load_interpretation
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.study.records import load_record
from circuitkit.validation.judge import with_question
from circuitkit.validation.verdict import Finding, check_of, reach_verdict, unmeasured
from circuitkit.work.text import counted

REPORTS = Path(__file__).parents[2] / "reports"
IOI, INDUCTION = (REPORTS / f"{name}--pico" for name in ("ioi", "induction"))


@pytest.fixture(params=[60, 80])
def screen(request, monkeypatch):
    """A terminal of some columns, in place of standard output wherever it is used."""
    text = io.StringIO()
    console = PlainConsole(file=text, width=request.param, highlight=False)
    for module in (terminal, comparing, showing):
        monkeypatch.setattr(module, "OUT", console)
    text.columns = request.param
    return text


def words_of(screen):
    """Return the words on the screen, each line of which must fit."""
    lines = screen.getvalue().splitlines()
    assert lines
    assert max(len(line.rstrip()) for line in lines) <= screen.columns, max(lines, key=len)
    return set(screen.getvalue().replace("┃", " ").replace("│", " ").split())


def test_tasks_and_models_are_listed_with_every_word_whole(screen, monkeypatch):
    for command, words in (
        ("tasks", "planted-comparison-shifted Indirect 'List: road, factual-recall"),
        ("models", "planted-skip-trigram d_model repeated (task"),
    ):
        done = CliRunner().invoke(app, [command])
        assert done.exit_code == 0, done.output
        assert set(words.split()) <= words_of(screen)


def test_a_verdict_is_shown_with_every_word_whole(screen):
    verdict = load_record(IOI).validation.verdict
    show_verdict(verdict, verbose=True)
    words = words_of(screen)
    assert {f"{check.criterion}:" for check in verdict.checks} <= words
    assert set(verdict.sentence.split()) <= words


def test_a_comparison_is_shown_with_every_word_whole(screen):
    comparison = compare([load_interpretation(path) for path in (IOI, INDUCTION)], n_deals=20)
    comparing.show_comparison(comparison, [Path("a"), Path("b")])
    words = words_of(screen)
    assert {"mlp-suppliers", "previous-token", "similarity"} <= words
    assert {"components", "components:"} & words
    assert {word for group in comparison.groups for word in group.name.split()} <= words


def test_a_row_becomes_a_list_where_words_would_not_fit_side_by_side(screen):
    header = ("name", *(f"measurement-{i}" for i in range(9)))
    show_table("Many columns", header, [("first", *(f"0.12{i}" for i in range(9)))])
    words_of(screen)
    lines = [line.strip() for line in screen.getvalue().splitlines()]
    assert lines[:3] == ["Many columns", "first", "measurement-0: 0.120"]
    assert "┃" not in screen.getvalue()


def test_a_table_that_fits_stays_a_table(screen):
    show_table("Few", ("a", "b"), [("one", "two")])
    assert "┃ a   ┃ b   ┃" in screen.getvalue()


def test_filled_text_breaks_between_words_and_never_at_a_hyphen(screen):
    text = " ".join(["node-faithfulness"] * 9)
    assert set(filled(text, "  ", "    ").split()) == {"node-faithfulness"}
    assert [len(line) - len(line.lstrip()) for line in filled(text, "  ", "    ").splitlines()][
        :2
    ] == [2, 4]


def verdict_with_and_without_bounds():
    value = Estimate(0.9, 0.85, 0.95, 50)
    checks = [
        check_of("faithfulness", Finding(value), Bound(min=0.8)),
        check_of("kl", Finding(value), Bound()),
        check_of("agreement", Finding(value), Bound()),
    ]
    return reach_verdict([with_question(check) for check in checks], "Said.")


def test_checks_without_a_bound_are_counted_and_shown_only_if_asked_for(screen):
    verdict = verdict_with_and_without_bounds()
    show_verdict(verdict)
    text = screen.getvalue()
    assert "faithfulness: 0.9" in text
    assert "agreement:" not in text
    assert "2 more checks without a bound: see --verbose." in text
    show_verdict(verdict, verbose=True)
    more = screen.getvalue()[len(text) :]
    assert "agreement:" in more
    assert "--verbose" not in more


def test_a_number_of_things_is_in_the_plural_unless_it_is_one():
    assert [counted(n, "edge") for n in (0, 1, 2)] == ["0 edges", "1 edge", "2 edges"]


def test_unlike_components_are_never_listed_as_doing_the_same(screen):
    comparison = compare([load_interpretation(path) for path in (IOI, INDUCTION)], n_deals=20)
    [pair] = comparison.pairs
    assert min(match.similarity for match in pair.matches) < comparing.ALIKE
    comparing.show_comparison(comparison, [Path("a"), Path("b")])
    rows = [line for line in screen.getvalue().splitlines() if line.startswith("│ a")]
    assert all(float(row.split("│")[3]) >= comparing.ALIKE for row in rows if row.count("│") == 4)
    assert "below 0.1: not alike." in screen.getvalue()
    none = PairComparison(
        **{**vars(pair), "matches": tuple(m for m in pair.matches if m.similarity < 0.1)}
    )
    before = len(screen.getvalue())
    comparing._show_matches(none, comparison.letters)
    assert screen.getvalue()[before:].startswith(f"{len(none.matches)} ")


def test_what_is_said_of_many_checks_is_said_once_and_not_again_if_the_verdict_says_it():
    checks = [
        replace(unmeasured(name, Bound(min=0.0), note), question="enough")
        for name, note in (("kl", "the same"), ("agreement", "the same"), ("cpr", "in the verdict"))
    ]
    verdict = replace(reach_verdict(checks, ""), sentence="Undecided: in the verdict.")
    assert notes_of(verdict) == ["kl, agreement: the same"]


def test_a_title_names_a_model_by_its_folder_and_not_by_its_whole_path(screen):
    baseline = load_record(IOI).validation.baseline
    showing.show_baseline(baseline, "ioi", "/somewhere/models/hf")
    assert screen.getvalue().splitlines()[0].strip() == "hf on ioi"


def test_a_title_is_broken_at_the_edge_of_the_screen_and_not_of_its_table(screen):
    title = "Effect of noising the paths to logits, in logits"
    show_table(title, ("", "all"), [("r0", "+0.057")])
    assert screen.getvalue().splitlines()[0] == title
