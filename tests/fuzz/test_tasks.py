"""Tasks of any class: drawn from, or refused in one sentence."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import Splits, sample_held_out, sample_splits
from circuitkit.task import Task, find_task
from tests.fuzz.odd import FUZZ, TEXTS, VALUES, refusal

PARTS = ("clean", "corrupted", "answers", "wrong_answers", "roles", "template", "answer_after")
ERRORS = (SystemExit, GeneratorExit, RecursionError, StopIteration, ValueError, MemoryError)


class Hostile:
    """An object of which nothing can be asked."""

    def __repr__(self):
        raise SystemError("no repr")

    def __iter__(self):
        raise OSError("no iteration")

    def __len__(self):
        return -1


ODD = st.one_of(VALUES, st.just(Hostile), st.just(int), st.just(LogitDifference), st.just(Task))


def made(value):
    """Return the value, or a hostile object: Hypothesis could not show what it drew."""
    return value() if value is Hostile else value


def good(rng):
    while True:
        yield PromptPair([rng.randrange(90), 1], [2, rng.randrange(90)], [5], [6])


def of_class(**parts):
    """Return the class of a task whose parts are as given, else good."""
    defaults = {"name": "fuzzed", "pairs": lambda self, rng: good(rng)}
    return type("Fuzzed", (Task,), defaults | parts)


@pytest.fixture
def drawn(monkeypatch):
    """Draw splits from a class as from an installed task."""

    def of(kind):
        point = SimpleNamespace(name="x", value="fuzz:X", load=lambda: kind)
        monkeypatch.setattr("circuitkit.task.entry_points", lambda group: [point])

        def door():
            task = find_task("x")
            splits = sample_splits(task, None, n=2, seed=0)
            sample_held_out(task, None, splits, n=16, seed=0)
            return splits

        return refusal(door)

    return of


def test_a_good_task_is_drawn_from(drawn):
    assert isinstance(drawn(of_class()), Splits)


@FUZZ
@given(part=st.sampled_from(["name", "metric", "drop_misaligned", "held_out", "pairs"]), value=ODD)
def test_a_task_with_an_odd_class_variable_is_drawn_from_or_refused(drawn, part, value):
    assert isinstance(drawn(of_class(**{part: made(value)})), Splits | str)


@FUZZ
@given(value=ODD, source=st.sampled_from(["pairs", "reference_pairs"]))
def test_a_task_that_returns_or_yields_anything_is_drawn_from_or_refused(drawn, value, source):
    assert isinstance(drawn(of_class(**{source: lambda self, rng: made(value)})), str)
    assert isinstance(drawn(of_class(**{source: lambda self, rng: iter([made(value)])})), str)


@FUZZ
@given(part=st.sampled_from(PARTS), value=ODD)
def test_a_pair_with_an_odd_part_is_used_or_refused(drawn, part, value):
    def pairs(self, rng):
        for pair in good(rng):
            object.__setattr__(pair, part, made(value))
            yield pair

    assert isinstance(drawn(of_class(pairs=pairs)), Splits | str)


@FUZZ
@given(
    error=st.sampled_from(ERRORS),
    text=TEXTS,
    where=st.sampled_from(["__init__", "pairs", "reference_pairs", "other_wordings", "name"]),
)
def test_a_task_that_raises_anything_anywhere_is_refused(drawn, error, text, where):
    def raising(self, *args):
        raise error(text)

    part = property(raising) if where in ("other_wordings", "name") else raising
    assert isinstance(drawn(of_class(**{where: part})), str)


@FUZZ
@given(value=ODD)
def test_what_is_no_class_of_a_task_is_refused(drawn, value):
    assert isinstance(drawn(made(value)), str)
