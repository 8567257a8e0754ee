"""Prompt files of any format: the own one, a known one by its columns or by name, or any table.

    read_prompts(path, format)  ->  lines, and whether they are of another program's file

`format` is empty (recognised), a name, a name with what it offers a choice of (`mib:abc`), or
columns (`clean=prompt,answer=target`). Rows of others that do not name a split are dealt out by the
seed, and cut to as many as are asked for: the first n of those that find, and of those that judge,
are the same whatever n is. Means are taken of more of the former, so that each length occurs.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitkit import names
from circuitkit.errors import PromptError
from circuitkit.prompts.clusters import linked
from circuitkit.prompts.file import PromptLine, read_prompt_file
from circuitkit.prompts.formats import of_benchmarks, of_programs
from circuitkit.prompts.formats.of_columns import EXAMPLE, by_columns, parse_columns
from circuitkit.prompts.formats.rows import TABLES, Row, first_row, read_rows
from circuitkit.prompts.pair_checks import require_pair
from circuitkit.prompts.pairs import PromptPair
from circuitkit.work.text import shown

OWN = names.OWN_FORMAT
REFERENCE_FOR_EACH, MIN_REFERENCE = 4, 400  # rows that means are of, for each that finds
Pairs = Callable[[Sequence[Row], str], Iterator[tuple[Row, PromptPair]]]


@dataclass(frozen=True)
class Format:
    """How rows of a format become pairs, by which keys they are known, and if it has a choice."""

    pairs: Pairs
    keys: tuple[str, ...]
    has_choice: bool = False

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has the keys; one that begins with _ is an ending."""
        return all(
            any(str(key).endswith(each) for key in row) if each[0] == "_" else each in row
            for each in self.keys
        )


FORMATS: Mapping[str, Format] = {
    "mib": Format(of_benchmarks.mib, ("prompt", of_benchmarks.ENDING), has_choice=True),
    "eap-ig": Format(of_programs.eap_ig, ("clean", "corrupted", "correct_idx"), has_choice=True),
    "acdc": Format(
        of_programs.acdc, ("clean_prompt", "corrupt_prompt", "correct_answers"), has_choice=True
    ),
    "auto-circuit": Format(of_programs.auto_circuit, ("clean", "corrupt", "answers")),
    "feature-circuits": Format(
        of_programs.feature_circuits,
        ("clean_prefix", "patch_prefix", "clean_answer", "patch_answer"),
    ),
    "counterfact": Format(of_benchmarks.counterfact, (of_benchmarks.REWRITE,)),
    "blimp": Format(of_benchmarks.blimp, ("sentence_good", "sentence_bad")),
}


@dataclass(frozen=True)
class PromptLines:
    """The lines of a file. Of another program's file, misaligned pairs are dropped and counted."""

    lines: tuple[PromptLine, ...]
    is_foreign: bool = False


def read_prompts(path: Path, format: str = "") -> PromptLines:
    """Return the lines of a prompt file.

    Raises:
        PromptError: no such file or format, no pairs, or a row that does not fit.
    """
    if "=" in format:
        named = parse_columns(format)
        return _checked(by_columns(read_rows(path), named), path)
    name, _, choice = format.partition(":")
    _require_format(name, choice, format)
    if name == OWN:
        return PromptLines(tuple(read_prompt_file(path)))
    if not name and not _may_be_foreign(path):
        return PromptLines(tuple(read_prompt_file(path)))
    rows = read_rows(path)
    name = name or _recognised(rows[0].data, path)
    return _checked(FORMATS[name].pairs(rows, choice), path)


def dealt(
    found: PromptLines, *, seed: int, n: int, n_validation: int | None = None
) -> tuple[PromptLine, ...]:
    """Return the lines, those of others with a split each and at most as many as asked for.

    Lines that name no split are dealt alternately, those that share a prompt or a cluster together.
    """
    if not found.is_foreign:
        return found.lines
    wanted = {"discovery": n, "validation": n if n_validation is None else n_validation}
    dealt: dict[str, list[PromptLine]] = {"discovery": [], "validation": [], "reference": []}
    has_validation = any(line.split == "validation" for line in found.lines)
    for group in _shuffled_groups(found.lines, seed):
        fewer = min(("discovery", "validation"), key=lambda split: len(dealt[split]))
        for line in group:
            split = line.split or ("discovery" if has_validation else fewer)
            dealt[split].append(PromptLine(line.pair, split))
    if not dealt["reference"]:
        some = dealt["discovery"][: max(REFERENCE_FOR_EACH * n, MIN_REFERENCE)]
        dealt["reference"] = [PromptLine(line.pair, "reference") for line in some]
    return tuple(line for split in dealt for line in dealt[split][: wanted.get(split)])


def _shuffled_groups(lines: Sequence[PromptLine], seed: int) -> list[list[PromptLine]]:
    keys = [
        [*line.pair.contents(), *([("cluster", line.pair.cluster)] if line.pair.cluster else [])]
        for line in lines
    ]
    groups: dict[int, list[PromptLine]] = {}
    for line, group in zip(lines, linked(keys).tolist(), strict=True):
        groups.setdefault(group, []).append(line)
    listed = list(groups.values())
    random.Random(seed).shuffle(listed)
    return listed


def _require_format(name: str, choice: str, format: str) -> None:
    if name not in ("", *names.PROMPT_FORMATS):
        raise PromptError(
            f"--format: must be one of {', '.join(names.PROMPT_FORMATS)}, got {shown(format)}. It "
            f"says what the columns mean. Choose one, or name the columns: {EXAMPLE}."
        )
    if choice and not (name in FORMATS and FORMATS[name].has_choice):
        offers = ", ".join(each for each, one in FORMATS.items() if one.has_choice)
        raise PromptError(
            f"--format: a name after a colon must belong to one of {offers}, got {shown(format)}. "
            "It chooses among several corrupted prompts. Leave it out."
        )


def _may_be_foreign(path: Path) -> bool:
    """Return whether it is a table, or its first row is one of a known format."""
    if path.is_dir() or path.suffix in TABLES:
        return True
    if not path.is_file():  # a pipe can be read once
        return False
    row = first_row(path)
    return any(each.fits(row) for each in FORMATS.values())


def _recognised(row: Mapping[str, Any], path: Path) -> str:
    found = next((name for name, each in FORMATS.items() if each.fits(row)), "")
    if not found:
        raise PromptError(
            f"prompt file {shown(str(path))}: must have the columns of a known format "
            f"({', '.join(FORMATS)}), got {shown(sorted(map(str, row)))}. They say what is a "
            f"prompt and what an answer. Name them: {EXAMPLE}."
        )
    return found


def _checked(pairs: Iterator[tuple[Row, PromptPair]], path: Path) -> PromptLines:
    lines = tuple(PromptLine(require_pair(pair, row.where), row.split) for row, pair in pairs)
    if not lines:
        raise PromptError(
            f"prompt file {shown(str(path))}: must hold a pair that can be used, got none. No row "
            "has a counterfactual, or a partner as long with another answer. Check the format, or "
            "give corrupted prompts."
        )
    return PromptLines(lines, is_foreign=True)
