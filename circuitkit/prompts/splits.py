"""Splits of prompt pairs, disjoint by content: what finds a circuit never judges it.

    task --sample_splits(seed)--> discovery, validation and reference pairs

Discovery pairs find the circuit, validation pairs judge it, and the corrupted prompts of the
reference pairs supply the means of mean ablation. No prompt occurs in two splits.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Protocol, runtime_checkable

from transformers import PreTrainedTokenizerBase

from circuitkit.errors import TaskError
from circuitkit.prompts.clusters import without_repeats
from circuitkit.prompts.pairs import MAX_PAIRS, PromptPair, PromptPairs
from circuitkit.prompts.task_code import drawn_pairs, task_code
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief, shown

MAX_REPEATS = 2_000  # draws in a row without a new pair before a task counts as exhausted
MIN_REFERENCE_PER_TEMPLATE = 8
MIN_HELD_OUT = 16  # pairs under which a kind of held-out pairs says little
PAIRS_FOR_EACH = 4  # drawn for each of n: one finds, one judges, two supply means
MAX_HELD_OUT_DRAWS = 100  # for each pair wanted
MAX_REFERENCE_FACTOR = 50  # a template that reference_pairs never yields must not draw for ever


@runtime_checkable
class PairSource(Protocol):
    """What pairs are drawn from: a task, as far as sampling must know it."""

    name: ClassVar[str]
    drop_misaligned: ClassVar[bool]

    @property
    def other_wordings(self) -> "PairSource | None":
        """The same behaviour in wordings that `pairs` does not have."""

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs without end."""

    def reference_pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield the pairs whose corrupted prompts supply the means of mean ablation."""


@dataclass(frozen=True)
class Splits(Shown):
    """Tokenised pairs of the three splits."""

    discovery: PromptPairs
    validation: PromptPairs
    reference: PromptPairs

    def __repr__(self) -> str:
        found = (("discovery", self.discovery), ("validation", self.validation))
        sizes = [f"{len(pairs)} {name}" for name, pairs in (*found, ("reference", self.reference))]
        return brief(f"Splits({', '.join(sizes)} pairs)")


def sample_splits(
    task: PairSource,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    n: int,
    seed: int,
    n_validation: int | None = None,
    bos: str = "auto",
) -> Splits:
    """Return `n` discovery pairs, `n_validation` (default n) to validate, and reference pairs.

    The discovery pairs depend on `n` and `seed` alone, so a circuit can be judged later on other
    pairs than those that found it. The reference split holds at least twice as many as validation,
    and each template of the other two at least MIN_REFERENCE_PER_TEMPLATE times. No prompt, clean
    or corrupted, occurs in two splits; pairs that the model cannot tell apart count once.

    Raises:
        TaskError: the task yields too few different pairs.
        PromptError: a pair does not fit the tokenizer.
    """
    n_validation = n if n_validation is None else n_validation
    for number in (n, n_validation):
        require_number_of_pairs(number)
    rng = random.Random(seed)
    taken: set[object] = set()
    pairs = drawn_pairs(task.name, lambda: task.pairs(rng))

    discovery = _draw(task, pairs, taken, lambda drawn: len(drawn) >= n, n)
    validation = _draw(task, pairs, taken, lambda drawn: len(drawn) >= n_validation, n)
    templates = {pair.template for pair in discovery + validation}
    others = drawn_pairs(task.name, lambda: task.reference_pairs(rng), "reference_pairs()")
    reference = _draw(task, others, taken, _covering(templates, n_validation), n)

    splits: list[PromptPairs] = []
    for drawn in (discovery, validation, reference):
        read = tokenize_pairs(drawn, tokenizer, drop_misaligned=task.drop_misaligned, bos=bos)
        splits.append(without_repeats(read, splits))
    return Splits(*splits)


def _covering(templates: Collection[str], n_validation: int) -> Callable[[list[PromptPair]], bool]:
    """Return whether reference pairs are enough, and of every template."""

    def covers(drawn: list[PromptPair]) -> bool:
        counts = Counter(pair.template for pair in drawn)
        few = (counts[template] < MIN_REFERENCE_PER_TEMPLATE for template in templates)
        if len(drawn) >= MAX_REFERENCE_FACTOR * (n_validation + len(templates)):
            return True
        return len(drawn) >= 2 * n_validation and not any(few)

    return covers


def sample_held_out(
    task: PairSource,
    tokenizer: PreTrainedTokenizerBase | None,
    splits: Splits,
    *,
    n: int,
    seed: int,
    bos: str = "auto",
) -> dict[str, tuple[PromptPairs, PromptPairs]]:
    """Return pairs of kinds that discovery never saw, each kind with its reference pairs.

    `wordings` are those of `task.held_out`; `answers` are pairs whose right answers were never
    right in discovery, in templates that have reference pairs. No prompt is one of discovery. A
    kind with fewer than MIN_HELD_OUT pairs is left out.

    Raises:
        TaskError: `task.held_out` yields too few different pairs.
        PromptError: a pair does not fit the tokenizer.
    """
    found = {}
    seen = _prompts_of(splits.discovery)
    with task_code(f"task {shown(task.name)}: making its held_out must raise no error"):
        wordings = task.other_wordings
    if wordings is not None:
        other = sample_splits(wordings, tokenizer, n=1, seed=seed, n_validation=n, bos=bos)
        judging = other.validation
        new = [i for i, pair in enumerate(judging.pairs) if seen.isdisjoint(pair.contents())]
        found["wordings"] = (judging.select(new), other.reference)
    drawn = _of_other_answers(task, splits, n, seed)
    if len(drawn) >= MIN_HELD_OUT:
        pairs = tokenize_pairs(drawn, tokenizer, drop_misaligned=task.drop_misaligned, bos=bos)
        found["answers"] = (without_repeats(pairs), splits.reference)
    return {kind: sets for kind, sets in found.items() if len(sets[0]) >= MIN_HELD_OUT}


def sample_fresh(
    task: PairSource,
    tokenizer: PreTrainedTokenizerBase | None,
    splits: Splits,
    *,
    n: int,
    seed: str,
    bos: str = "auto",
) -> PromptPairs | None:
    """Return at most `n` pairs drawn by `seed`, of the same kind and with no prompt of the splits.

    None where there are fewer than MIN_HELD_OUT, or no more than the splits have.

    Raises:
        PromptError: a pair does not fit the tokenizer.
    """
    seen = {p for split in (splits.discovery, splits.validation) for p in _prompts_of(split)}
    drawn = _drawn(task, splits, n, seed, lambda pair: seen.isdisjoint(pair.contents()))
    if len(drawn) < MIN_HELD_OUT:
        return None
    read = tokenize_pairs(drawn, tokenizer, drop_misaligned=task.drop_misaligned, bos=bos)
    fresh = without_repeats(read)
    return fresh if len(fresh) >= MIN_HELD_OUT else None


def _of_other_answers(task: PairSource, splits: Splits, n: int, seed: int) -> list[PromptPair]:
    """Return at most `n` pairs whose right answers were never right in discovery."""
    seen = _prompts_of(splits.discovery)
    known = {answer for pair in splits.discovery.pairs for answer in pair.right_answers()}

    def is_new(pair: PromptPair) -> bool:
        return known.isdisjoint(pair.right_answers()) and seen.isdisjoint(pair.contents())

    return _drawn(task, splits, n, f"held out {seed}", is_new)


def _prompts_of(pairs: PromptPairs) -> set[object]:
    return {prompt for pair in pairs.pairs for prompt in pair.contents()}


def _drawn(
    task: PairSource,
    splits: Splits,
    n: int,
    seed: str,
    is_new: Callable[[PromptPair], bool],
) -> list[PromptPair]:
    """Return at most `n` different new pairs in templates that have reference pairs."""
    templates = {pair.template for pair in splits.reference.pairs}
    drawn: dict[object, PromptPair] = {}
    stream = drawn_pairs(task.name, lambda: task.pairs(random.Random(seed)))
    for pair in islice(stream, MAX_HELD_OUT_DRAWS * n):
        if pair.template in templates and is_new(pair):
            drawn.setdefault(pair.contents(), pair)
        if len(drawn) == n:
            break
    return list(drawn.values())


def require_number_of_pairs(n: int) -> None:
    """Refuse to draw no pairs, or so many that nothing would be heard for minutes.

    Raises:
        TaskError: it is such a number.
    """
    if n < 1:
        raise TaskError(
            f"number of pairs: must be at least 1, got {n}. There is nothing to measure. Raise --n."
        )
    if n > MAX_PAIRS:
        raise TaskError(
            f"number of pairs: must be at most {MAX_PAIRS}, got {n}. Drawing them would take "
            "minutes, and intervals no longer shrink by much. Lower --n."
        )


def _draw(
    task: PairSource,
    stream: Iterator[PromptPair],
    taken: set[object],
    is_enough: Callable[[list[PromptPair]], bool],
    n: int,
) -> list[PromptPair]:
    """Return new pairs from the stream until there are enough, and mark their prompts as taken.

    Within a split a prompt may be clean in one pair and corrupted in another; across splits
    neither may occur again.
    """
    drawn: list[PromptPair] = []
    own: set[object] = set()
    repeats = 0
    while not is_enough(drawn):
        pair = next(stream, None)
        repeats += 1
        if pair is None or repeats > MAX_REPEATS:
            raise TaskError(_exhausted(task.name, n, len(drawn), len(taken)))
        contents = pair.contents()
        if contents in own or taken.intersection(contents):
            continue
        own.add(contents)
        drawn.append(pair)
        repeats = 0
    taken.update(prompt for pair in drawn for prompt in pair.contents())
    return drawn


def _exhausted(name: str, n: int, n_drawn: int, n_taken: int) -> str:
    """Return what to say of a task that yields nothing new, when `n` pairs a split were wanted."""
    fits = max(1, (n_drawn + n_taken // 2) // PAIRS_FOR_EACH)
    return (
        f"task {name!r}: must yield more different pairs, got {n_drawn} in this split after "
        f"{n_taken} prompts in earlier ones. {n} are needed to find a circuit, {n} to judge it and "
        f"{2 * n} for the means of mean ablation, and the splits may not share a prompt. About --n "
        f"{fits} would fit; a verdict needs 16, a minimal circuit and minimality 32. Ask for fewer "
        "pairs with --n, or make the task more varied."
    )
