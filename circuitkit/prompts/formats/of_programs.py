"""Prompt files of programs: EAP-IG, ACDC, auto-circuit, feature-circuits.

eap-ig            clean, corrupted, correct_idx, incorrect_idx (token ids); without the last,
                  correct_idx is the two-digit year of greater-than
auto-circuit      prompts: [clean, corrupt, answers, wrong_answers]
acdc              clean_prompt, corrupt_prompt, correct_answers, wrong_answers
feature-circuits  clean_prefix, patch_prefix, clean_answer, patch_answer
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from circuitkit.prompts.formats.rows import Row
from circuitkit.prompts.pairs import PromptPair
from circuitkit.work.reading import UnreadableError, parse_json

YEARS = 100


def eap_ig(rows: Sequence[Row], choice: str) -> Iterator[tuple[Row, PromptPair]]:
    """Yield the pairs of EAP-IG's tables. `choice` names another column of corrupted prompts."""
    for row in rows:
        right: list[str | int] = list(_ids(row, "correct_idx"))
        if "incorrect_idx" in row.data:
            wrong: list[str | int] = list(_ids(row, "incorrect_idx"))
        else:
            (year,) = right if len(right) == 1 else (-1,)
            if not 0 <= int(year) < YEARS - 1:
                raise row.wrong("correct_idx without incorrect_idx", "a year from 0 to 98", year)
            right = [f"{later:02d}" for later in range(int(year) + 1, YEARS)]
            wrong = [f"{earlier:02d}" for earlier in range(int(year) + 1)]
        yield row, PromptPair(row.text("clean"), row.text(choice or "corrupted"), right, wrong)


def _ids(row: Row, key: str) -> list[int]:
    value = row.at(key)
    try:
        found = parse_json(value) if isinstance(value, str) else value
    except UnreadableError:
        found = value
    numbers = found if isinstance(found, list) else [found]
    if not all(type(each) is int and each >= 0 for each in numbers):
        raise row.wrong(key, "a token id or a list of them", value)
    return numbers


def auto_circuit(rows: Sequence[Row], choice: str) -> Iterator[tuple[Row, PromptPair]]:
    """Yield the pairs of auto-circuit's JSON. Its places of words are left out."""
    for row in rows:
        clean, corrupted = _prompt(row.at("clean")), _prompt(row.at("corrupt"))
        wrong = row.data.get("wrong_answers", [])
        yield row, PromptPair(clean, corrupted, row.at("answers"), wrong)


def _prompt(value: Any) -> Any:
    """Return a prompt; token ids may stand in a batch of one."""
    is_batch = isinstance(value, list) and len(value) == 1 and isinstance(value[0], list)
    return value[0] if is_batch else value


def acdc(rows: Sequence[Row], choice: str) -> Iterator[tuple[Row, PromptPair]]:
    """Yield the pairs of ACDC's prompts. `choice` names one of several corrupted prompts."""
    for row in rows:
        corrupted = row.at("corrupt_prompt")
        if isinstance(corrupted, Mapping):
            if not choice and len(corrupted) > 1:
                names = " or ".join(f"--format acdc:{key}" for key in sorted(corrupted)[:3])
                raise row.wrong("corrupt_prompt", f"one prompt, named by {names}", corrupted)
            corrupted = row.at("corrupt_prompt", choice or next(iter(corrupted), ""))
        right, wrong = row.at("correct_answers"), row.data.get("wrong_answers", [])
        yield row, PromptPair(row.text("clean_prompt"), corrupted, right, wrong)


def feature_circuits(rows: Sequence[Row], choice: str) -> Iterator[tuple[Row, PromptPair]]:
    """Yield the pairs of feature-circuits; a prompt and its patch, either way, are a cluster."""
    for row in rows:
        clean, patch = row.text("clean_prefix"), row.text("patch_prefix")
        right, wrong = row.text("clean_answer"), row.text("patch_answer")
        cluster = " / ".join(sorted((clean, patch)))
        yield row, PromptPair(clean, patch, [right], [wrong], cluster=cluster)
