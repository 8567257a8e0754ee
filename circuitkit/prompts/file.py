"""Prompt pairs from a JSON Lines file, without a task class.

    {"clean": text or [ids], "corrupted": ..., "answers": [...], "wrong_answers": [...],
     "roles": {name: [start, end]}, "template": "...", "split": "discovery"}

Only `clean`, `corrupted` and `answers` are required. Answers are token strings or ids. Lines may
name their split; those that do not are dealt out by `splits_of`.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs

SPLITS = ("discovery", "validation", "reference")
KEYS = {"clean", "corrupted", "answers", "wrong_answers", "roles", "template", "split"}


@dataclass(frozen=True)
class PromptLine:
    """One line: a pair, and the split it names (empty where it names none)."""

    pair: PromptPair
    split: str


def read_prompt_file(path: Path) -> list[PromptLine]:
    """Return the lines of a prompt file.

    Raises:
        PromptError: no such file, no lines, or a line that does not fit, with its number.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(
            f"prompt file {str(path)!r}: must be a readable text file, got {error}. Check the path."
        ) from error
    lines = [
        _line(raw, f"prompt file {str(path)!r}, line {number}")
        for number, raw in enumerate(text.splitlines(), 1)
        if raw.strip()
    ]
    if not lines:
        raise PromptError(
            f"prompt file {str(path)!r}: must hold at least one pair, got none. There is nothing "
            "to measure. Add lines."
        )
    return lines


def splits_of(
    lines: Sequence[PromptLine],
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    seed: int,
    bos: str = "auto",
) -> Splits:
    """Return the file's pairs in three splits.

    Lines that name a split go there. If no line names validation, the unnamed ones are shuffled
    by `seed` and every second one validates; otherwise they all serve discovery. Without
    reference lines, the discovery pairs supply the means.

    Raises:
        PromptError: a split would be empty, or a prompt occurs in discovery and in validation.
    """
    chosen: dict[str, list[PromptPair]] = {
        split: [line.pair for line in lines if line.split == split] for split in SPLITS
    }
    unnamed = [line.pair for line in lines if not line.split]
    if chosen["validation"]:
        chosen["discovery"] += unnamed
    else:
        random.Random(seed).shuffle(unnamed)
        chosen["validation"] += unnamed[1::2]
        chosen["discovery"] += unnamed[::2]
    chosen["reference"] = chosen["reference"] or chosen["discovery"]
    for split in SPLITS:
        if not chosen[split]:
            raise PromptError(
                f"prompt file: the {split} split must hold a pair, got none of {len(lines)} lines. "
                "A circuit is judged on other prompts than those that found it. Add lines, or "
                'name their split with "split".'
            )
    _require_disjoint(chosen["discovery"], chosen["validation"])
    return Splits(*(tokenize_pairs(chosen[split], tokenizer, bos=bos) for split in SPLITS))


def discovery_pairs(
    lines: Sequence[PromptLine], tokenizer: PreTrainedTokenizerBase | None, *, bos: str = "auto"
) -> PromptPairs:
    """Return all pairs that are not given to another split.

    Raises:
        PromptError: there is none.
    """
    pairs = [line.pair for line in lines if line.split in ("", "discovery")]
    return tokenize_pairs(pairs, tokenizer, bos=bos)


def _require_disjoint(discovery: list[PromptPair], validation: list[PromptPair]) -> None:
    seen = {prompt for pair in discovery for prompt in pair.contents()}
    for pair in validation:
        shared = seen.intersection(pair.contents())
        if shared:
            raise PromptError(
                "prompt file: discovery and validation must not share a prompt, got "
                f"{shared.pop()!r} in both. A circuit would be judged on what found it. Give all "
                "lines with that prompt to one split."
            )


def _line(raw: str, where: str) -> PromptLine:
    try:
        data = json.loads(raw)
    except json.JSONDecodeError as error:
        raise PromptError(f"{where}: must be one JSON object, got {error}. Mend it.") from error
    if not isinstance(data, dict) or not {"clean", "corrupted", "answers"} <= data.keys():
        got = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise PromptError(
            f"{where}: must hold clean, corrupted and answers, got {got}. They are what is "
            "compared. Add the missing ones."
        )
    unknown = sorted(data.keys() - KEYS)
    if unknown or data.get("split", "") not in ("", *SPLITS):
        raise PromptError(
            f"{where}: keys must be among {sorted(KEYS)} and split one of {SPLITS}, got "
            f"{unknown or data['split']!r}. A misspelt key would be ignored. Correct it."
        )
    return PromptLine(_pair(data, where), data.get("split", ""))


def _pair(data: dict[str, Any], where: str) -> PromptPair:
    for key in ("clean", "corrupted"):
        is_ids = isinstance(data[key], list) and all(type(token) is int for token in data[key])
        if not isinstance(data[key], str) and not is_ids:
            raise PromptError(
                f"{where}: {key} must be text or a list of token ids, got {data[key]!r}. "
                "It is what the model reads. Correct it."
            )
    for key in ("answers", "wrong_answers"):
        values = data.get(key, [])
        if not isinstance(values, list) or not all(type(v) in (str, int) for v in values):
            raise PromptError(
                f"{where}: {key} must be a list of token strings or ids, got {values!r}. "
                "Metrics compare their logits. Correct it."
            )
    try:
        roles = {
            name: (int(start), int(end)) for name, (start, end) in data.get("roles", {}).items()
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise PromptError(
            f"{where}: roles must be {{name: [start, end]}}, got {data['roles']!r}. Correct it."
        ) from error
    return PromptPair(
        clean=data["clean"],
        corrupted=data["corrupted"],
        answers=data["answers"],
        wrong_answers=data.get("wrong_answers", []),
        roles=roles,
        template=data.get("template", ""),
    )
