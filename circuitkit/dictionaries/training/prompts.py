"""The prompts that a dictionary is trained on, step by step, and those held out to try it on.

Every source says which prompts belong to a step from the number of the step alone, so that training
which was cut off goes on with the very prompts that it would have had.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from transformers import PreTrainedTokenizerBase

from circuitkit.errors import PromptError
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.encoding import encode
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.text import error_text, shown

TokenIds = Sequence[int]
HELD_OUT_SHARE = 0.1
MIN_PROMPTS = 10
MIN_TOKENS = 2  # of a prompt: the first is not trained on


@runtime_checkable
class PromptSource(Protocol):
    """Prompts as token ids: those of every step, and some that no step has.

    `digest` says which they are, so that training is not resumed on others.
    """

    @property
    def digest(self) -> str:
        """Which prompts these are."""

    def of_step(self, step: int, n: int) -> list[TokenIds]:
        """Return the `n` prompts of a step."""

    def held_out(self) -> list[TokenIds]:
        """Return prompts that no step has."""


@dataclass(frozen=True)
class GivenPrompts:
    """A list of prompts, gone through again and again, each time in another order."""

    train: tuple[TokenIds, ...]
    test: tuple[TokenIds, ...]
    digest: str
    seed: int = 0

    def of_step(self, step: int, n: int) -> list[TokenIds]:
        """Return the next `n` prompts behind those of the steps before."""
        rounds: dict[int, list[int]] = {}
        found = []
        for place in range(step * n, (step + 1) * n):
            number, index = divmod(place, len(self.train))
            if number not in rounds:
                rounds[number] = list(range(len(self.train)))
                random.Random(f"{self.seed} {number}").shuffle(rounds[number])
            found.append(self.train[rounds[number][index]])
        return found

    def held_out(self) -> list[TokenIds]:
        """Return the prompts that are not trained on."""
        return list(self.test)


@dataclass(frozen=True)
class DrawnPrompts:
    """Prompts that a program draws, as many as are asked for, from a generator of its own."""

    draw: Callable[[random.Random], TokenIds]
    digest: str
    seed: int = 0
    n_held_out: int = 400

    def of_step(self, step: int, n: int) -> list[TokenIds]:
        """Return `n` prompts drawn for this step alone."""
        rng = random.Random(f"{self.seed} step {step}")
        return [self.draw(rng) for _ in range(n)]

    def held_out(self) -> list[TokenIds]:
        """Return prompts drawn for no step."""
        rng = random.Random(f"{self.seed} held out")
        return [self.draw(rng) for _ in range(self.n_held_out)]


def prompts_of_pairs(
    train: Sequence[PromptPairs], test: PromptPairs, digest: str, *, seed: int
) -> GivenPrompts:
    """Return the different prompts of some pairs, clean and corrupted ones, as a source.

    A prompt that is among those to be held out is not trained on.

    Raises:
        PromptError: there are too few.
    """
    held_out = dict.fromkeys(_rows(test))
    trained = dict.fromkeys(chain.from_iterable(_rows(pairs) for pairs in train))
    kept = tuple(ids for ids in trained if ids not in held_out)
    return _given(kept, tuple(held_out), digest, seed, "prompts")


def _rows(pairs: PromptPairs) -> Iterator[tuple[int, ...]]:
    for batch in (pairs.clean_batch, pairs.corrupted_batch):
        for ids, mask in zip(batch.tokens, batch.mask, strict=True):
            yield tuple(ids[mask].tolist())


def prompts_of_texts(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, longest: int, bos: str, seed: int
) -> GivenPrompts:
    """Return the lines of a text file as a source; a line of more tokens than `longest` is cut.

    Each tenth line, by the seed, is held out.

    Raises:
        PromptError: the file cannot be read, is no UTF-8, or has too few lines.
    """
    where = f"texts {shown(str(path))}"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise PromptError(
            f"{where}: must be a text file in UTF-8, a text on each line, got {error_text(error)}. "
            "It is what the dictionary is trained on. Name another with --texts."
        ) from error
    texts = list(dict.fromkeys(line for line in lines if line.strip()))
    random.Random(seed).shuffle(texts)
    encoded = [tuple(encode(text, tokenizer, bos).ids[:longest]) for text in texts]
    n_held_out = round(len(encoded) * HELD_OUT_SHARE)
    digest = f"{path.name}, {len(texts)} texts"
    return _given(tuple(encoded[n_held_out:]), tuple(encoded[:n_held_out]), digest, seed, where)


def _given(
    train: tuple[TokenIds, ...], test: tuple[TokenIds, ...], digest: str, seed: int, where: str
) -> GivenPrompts:
    train, test = (tuple(p for p in part if len(p) >= MIN_TOKENS) for part in (train, test))
    if min(len(train), len(test) * round(1 / HELD_OUT_SHARE)) < MIN_PROMPTS:
        raise PromptError(
            f"{where}: must hold at least {MIN_PROMPTS} different prompts of {MIN_TOKENS} tokens "
            f"or more, got {len(train)} to train on and {len(test)} to hold out. A dictionary of "
            "so few says nothing of others. Give more."
        )
    told = hashlib.sha256(repr((train, test)).encode()).hexdigest()[:16]
    digest = f"{digest}, sha256-{told}"  # of every token
    return GivenPrompts(train, test, digest, seed)


def batch_of(prompts: Sequence[TokenIds]) -> PromptBatch:
    """Return prompts as one padded batch, padding in front."""
    width = max(len(ids) for ids in prompts)
    tokens = torch.zeros(len(prompts), width, dtype=torch.int64)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, ids in enumerate(prompts):
        tokens[row, width - len(ids) :] = torch.tensor(list(ids))
        mask[row, width - len(ids) :] = True
    return PromptBatch(tokens, mask, torch.full((len(prompts),), width - 1))
