"""A stranger's text does nothing but show itself."""

import pytest

from circuitkit.work.text import UNSAFE, Verbatim, cut, error_text, is_safe, one_line, plain, shown

HOSTILE = "a\x1b[31mred\x07\r\n::warning::x\u2028##[error]y\ud800\u202e\x00"


@pytest.mark.parametrize("show", [shown, one_line, lambda text: error_text(ValueError(text))])
def test_no_unsafe_character_is_left_and_no_second_line(show):
    text = show(HOSTILE)
    assert UNSAFE.search(text) is None
    assert "red" in text
    assert "\\x1b" in text


def test_plain_keeps_lines_and_tabs_and_nothing_else_that_is_unsafe():
    assert plain("a\n\tb\x1b[0m\r") == "a\n\tb\\x1b[0m\\r"


@pytest.mark.parametrize("text", ["::warning::x", "a\n  ::error::x", "##[error]x", "a ##[group]"])
def test_no_line_begins_as_a_command_of_github(text):
    for line in plain(text).splitlines():
        assert not line.strip().startswith("::")
        assert "##[" not in line
    assert "warning" in plain("::warning::x")


def test_words_of_other_scripts_stay_as_they_are():
    for text in ("می\u200cخواهم", "日本\u3000語", "👩\u200d🔬", "naïve", "a\u00a0b"):
        assert plain(text) == one_line(text) == text
        assert is_safe(text)


@pytest.mark.parametrize("text", ["\x1b", "\x00", "\ufffe", "\ud800", "\n", "\u2028", "\u202e"])
def test_what_cannot_be_shown_everywhere_is_not_safe(text):
    assert not is_safe(f"a{text}b")


def test_a_megabyte_is_cut_and_its_length_is_said():
    text = shown("x" * 1_600_000)
    assert len(text) < 250
    assert "(1600002 characters)" in text
    assert len(error_text(ValueError("x" * 1_600_000))) < 250
    assert cut("abc", 3) == "abc"


def test_what_cannot_even_be_shown_is_named_by_its_type():
    class Hostile:
        def __repr__(self):
            raise RuntimeError

    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    assert shown(Hostile()) == "a Hostile whose repr raises RuntimeError"
    assert error_text(Silent()) == "Silent: (its own text raises RuntimeError)"
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list whose repr raises RecursionError"
    assert shown(10**5000) == "a int whose repr raises ValueError"


def test_an_error_without_words_is_named():
    assert error_text(StopIteration()) == "StopIteration"
    assert error_text(KeyError("x")) == "KeyError: 'x'"
    assert shown(Verbatim("it's")) == "it's"
