"""Any table, by the columns that `--columns clean=prompt,answer=target` names.

`clean` and `answer` are needed. `corrupted`, `wrong`, `template`, `cluster` and `split` may be
named too. Without `corrupted`, another row of the same template with another answer is the
corrupted prompt (partners.py), and its answer is the wrong one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from circuitkit.errors import PromptError
from circuitkit.prompts.file import SPLITS
from circuitkit.prompts.formats.partners import Asked, with_partners
from circuitkit.prompts.formats.rows import SPLIT_OF, Row
from circuitkit.prompts.pairs import PromptPair
from circuitkit.work.text import shown

NAMES = ("clean", "corrupted", "answer", "wrong", "template", "cluster", "split")
NEEDED = ("clean", "answer")
EXAMPLE = "--columns clean=prompt,answer=target"


def parse_columns(text: str) -> dict[str, str]:
    """Return which column is what.

    Raises:
        PromptError: the text has another form, or a part is unknown, twice or missing.
    """
    parts = [part.partition("=") for part in text.split(",")]
    named = {name.strip(): column.strip() for name, _, column in parts}
    is_whole = all(equals and column.strip() for _, equals, column in parts)
    if not is_whole or len(named) < len(parts) or not set(NEEDED) <= set(named) <= set(NAMES):
        raise PromptError(
            f"--columns: must name {' and '.join(NEEDED)}, and may name "
            f"{', '.join(name for name in NAMES if name not in NEEDED)}, each once, got "
            f"{shown(text)}. It says what the columns of a table are. Write {EXAMPLE}."
        )
    return named


def by_columns(rows: Sequence[Row], named: Mapping[str, str]) -> Iterator[tuple[Row, PromptPair]]:
    """Yield the pairs of a table whose columns are named.

    Raises:
        PromptError: a row lacks a column, or holds what is none of a pair.
    """
    rows = [_placed(row, named) for row in rows]
    if "corrupted" in named:
        for row in rows:
            wrong = _listed(_value(row, named, "wrong"))
            yield row, _pair(row, named, row.data[named["corrupted"]], wrong)
        return
    asked = [
        Asked(number, row.text(named["clean"]), _answer(row, named), _template(row, named))
        for number, row in enumerate(rows)
    ]
    for one, other in with_partners(asked):
        row = rows[one.row]
        wrong = _listed(_value(row, named, "wrong")) or [other.answer]
        yield row, _pair(row, named, other.prompt, wrong)


def _placed(row: Row, named: Mapping[str, str]) -> Row:
    """Return the row with the split that it names, if it has all columns."""
    for name, column in named.items():
        if column not in row.data:
            raise PromptError(
                f"{row.where}: must have the column {shown(column)}, which --columns names as "
                f"{name}, got {shown(sorted(map(str, row.data)))}. It is part of a pair. Name "
                "another column, or add it."
            )
    if "split" not in named:
        return row
    split = str(row.data[named["split"]])
    split = SPLIT_OF.get(split, split)
    if split not in ("", *SPLITS):
        raise row.wrong(named["split"], f"one of {', '.join((*SPLITS, *SPLIT_OF))}", split)
    return Row(row.where, row.data, split)


def _pair(row: Row, named: Mapping[str, str], corrupted: Any, wrong: list[Any]) -> PromptPair:
    cluster = _value(row, named, "cluster")
    return PromptPair(
        row.data[named["clean"]],
        corrupted,
        _listed(row.data[named["answer"]]),
        wrong,
        template=_template(row, named),
        cluster=None if cluster in (None, "") else str(cluster),
    )


def _answer(row: Row, named: Mapping[str, str]) -> str | int:
    found = _listed(row.data[named["answer"]])
    if len(found) != 1 or not isinstance(found[0], str | int):
        raise row.wrong(named["answer"], "one answer, where no column is corrupted", found)
    return found[0]


def _template(row: Row, named: Mapping[str, str]) -> str:
    return str(_value(row, named, "template") or "")


def _value(row: Row, named: Mapping[str, str], name: str) -> Any:
    return row.data[named[name]] if name in named else None


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
