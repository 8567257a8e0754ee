"""Prompt pairs from a JSON Lines file, without a task class.

    {"clean": text or [ids], "corrupted": ..., "answers": [...], "wrong_answers": [...],
     "roles": {name: [start, end]}, "template": "...", "cluster": "...", "split": "discovery"}

Only `clean`, `corrupted` and `answers` are required. Answers are texts of one or more
tokens, ids, or lists of ids. Lines may
name their split; those that do not are dealt out by `splits_of`. Lines that the model cannot tell
apart count once, and those of one `cluster` are not independent (clusters.py).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from circuitkit.errors import PromptError
from circuitkit.prompts.clusters import linked, without_repeats
from circuitkit.prompts.pair_checks import require_fields
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.work.reading import UnreadableError, parse_json, read_text_file
from circuitkit.work.text import error_text, shown

SPLITS = ("discovery", "validation", "reference")
KEYS = {"clean", "corrupted", "answers", "wrong_answers", "roles", "template", "cluster", "split"}


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
    where = f"prompt file {shown(str(path))}"
    try:
        text = read_text_file(path)
    except (FileNotFoundError, UnreadableError) as error:
        raise PromptError(
            f"{where}: must be a readable text file, got {error_text(error)}. It holds the pairs. "
            "Check the path."
        ) from error
    lines = [
        _line(raw, f"{where}, line {number}")
        # not splitlines: JSON may hold other ends of line, such as U+2028, inside a text
        for number, raw in enumerate(text.split("\n"), 1)
        if raw.strip()
    ]
    if not lines:
        raise PromptError(
            f"{where}: must hold at least one pair, got none. There is nothing "
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
    by `seed` and every second one validates, lines that share a prompt together; otherwise they all
    serve discovery. Without reference lines, the discovery pairs supply the means.

    Raises:
        PromptError: a split would be empty, or a validation prompt occurs in another one.
    """
    chosen = _chosen(lines, seed)
    has_reference = bool(chosen["reference"])
    chosen["reference"] = chosen["reference"] or chosen["discovery"]
    for split in SPLITS:
        if not chosen[split]:
            raise PromptError(_empty(split, lines))
    tokenized = {
        split: without_repeats(tokenize_pairs(chosen[split], tokenizer, bos=bos))
        for split in SPLITS
    }
    _require_disjoint("discovery", "validation", tokenized)
    if has_reference:
        _require_disjoint("reference", "validation", tokenized)
    return Splits(**tokenized)


def _empty(split: str, lines: Sequence[PromptLine]) -> str:
    """Return what to say of a split without a pair."""
    n, groups = len(lines), len(_sharing([line.pair for line in lines]))
    why = f" that share prompts: {groups} group{'s' * (groups != 1)}" if groups < n else ""
    return (
        f"prompt file: the {split} split must hold a pair, got none of {n} "
        f"line{'s' * (n != 1)}{why}. A circuit is judged on other prompts than those that found "
        "it. Add lines with other prompts: a verdict needs 16 of them in validation, minimality "
        'and a minimal circuit 32 in each split. Or name the split of lines with "split".'
    )


def _chosen(lines: Sequence[PromptLine], seed: int) -> dict[str, list[PromptPair]]:
    """Return the pairs of each split, as lines say, else by `seed`; the reference may be empty."""
    chosen = {split: [line.pair for line in lines if line.split == split] for split in SPLITS}
    unnamed = [line.pair for line in lines if not line.split]
    if chosen["validation"]:
        chosen["discovery"] += unnamed
        return chosen
    named = {prompt for pairs in chosen.values() for pair in pairs for prompt in pair.contents()}
    groups = _sharing(unnamed)
    random.Random(seed).shuffle(groups)
    dealt: dict[str, list[PromptPair]] = {"discovery": [], "validation": []}
    for group in groups:
        is_named = any(not named.isdisjoint(pair.contents()) for pair in group)
        fewer = len(dealt["validation"]) < len(dealt["discovery"])
        dealt["validation" if fewer and not is_named else "discovery"] += group
    return {split: pairs + dealt.get(split, []) for split, pairs in chosen.items()}


def _sharing(pairs: Sequence[PromptPair]) -> list[list[PromptPair]]:
    """Return the pairs in groups: those that share a prompt, clean or corrupted, are together."""
    group_of = linked([pair.contents() for pair in pairs])
    grouped: dict[int, list[PromptPair]] = {}
    for pair, group in zip(pairs, group_of.tolist(), strict=True):
        grouped.setdefault(group, []).append(pair)
    return list(grouped.values())


def discovery_pairs(
    lines: Sequence[PromptLine], tokenizer: PreTrainedTokenizerBase | None, *, bos: str = "auto"
) -> PromptPairs:
    """Return all pairs that are not given to another split.

    Raises:
        PromptError: there is none.
    """
    pairs = [line.pair for line in lines if line.split in ("", "discovery")]
    return without_repeats(tokenize_pairs(pairs, tokenizer, bos=bos))


def _require_disjoint(one: str, other: str, chosen: Mapping[str, PromptPairs]) -> None:
    """Refuse a prompt in two splits, by its tokens: as text here and as ids there is the same."""
    seen, rows = set(chosen[one].prompt_digests), chosen[other]
    for pair, prompts in zip(rows.pairs, rows.pair_digests(), strict=True):
        shared = [p for p, digest in zip(pair.contents(), prompts, strict=True) if digest in seen]
        if shared:
            raise PromptError(
                f"prompt file: {one} and {other} must not share a prompt, got "
                f"{shown(shared[0])} in both. A circuit would be judged on what made it. Give "
                "all lines with that prompt to one split."
            )


def _line(raw: str, where: str) -> PromptLine:
    try:
        data = parse_json(raw)
    except UnreadableError as error:
        raise PromptError(
            f"{where}: must be one JSON object, got {error}. A line is a pair. Mend it."
        ) from error
    if not isinstance(data, dict) or not {"clean", "corrupted", "answers"} <= data.keys():
        got = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise PromptError(
            f"{where}: must hold clean, corrupted and answers, got {shown(got)}. They are what is "
            "compared. Add the missing ones."
        )
    unknown = sorted(data.keys() - KEYS)
    if unknown or data.get("split", "") not in ("", *SPLITS):
        raise PromptError(
            f"{where}: keys must be among {sorted(KEYS)} and split one of {SPLITS}, got "
            f"{shown(unknown or data['split'])}. A misspelt key would be ignored. Correct it."
        )
    require_fields(data, where)
    return PromptLine(_pair(data), data.get("split", ""))


def _pair(data: Mapping[str, Any]) -> PromptPair:
    return PromptPair(
        clean=data["clean"],
        corrupted=data["corrupted"],
        answers=data["answers"],
        wrong_answers=data.get("wrong_answers", []),
        roles={name: (start, end) for name, (start, end) in data.get("roles", {}).items()},
        template=data.get("template", ""),
        cluster=data.get("cluster"),
    )
