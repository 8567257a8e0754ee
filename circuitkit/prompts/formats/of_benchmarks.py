"""Data of benchmarks: MIB's four tasks, CounterFact, BLiMP.

    mib          prompt, and beside it counterfactuals, each with a prompt of its own
    counterfact  requested_rewrite: prompt with {}, subject, target_true
    blimp        sentence_good, sentence_bad, and where they part

CounterFact has no corrupted prompts, and BLiMP's pairs that part after their common prefix have one
prompt: another row gives the corrupted one (partners.py).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from circuitkit.prompts.formats.partners import Asked, with_partners
from circuitkit.prompts.formats.rows import Row
from circuitkit.prompts.pairs import PromptPair, Span
from circuitkit.work.text import shown

ENDING = "_counterfactual"
IOI, ARITHMETIC, CHOICE = "s2_io_flip", "random", "symbol"  # what MIB's own runs corrupt by
REWRITE = "requested_rewrite"


def mib(rows: Sequence[Row], choice: str) -> Iterator[tuple[Row, PromptPair]]:
    """Yield the pairs of MIB's rows; `choice` names the counterfactual.

    Rows without it, or whose answer it does not change, are left out.
    """
    for row in rows:
        kind = _mib_kind(row)
        name = f"{(choice or kind).removesuffix(ENDING)}{ENDING}"
        if name not in row.data:
            have = sorted(key.removesuffix(ENDING) for key in row.data if key.endswith(ENDING))
            if not have:
                raise row.wrong("its columns", f"prompt and at least one NAME{ENDING}", [*row.data])
            raise row.wrong("the counterfactual", f"one of {', '.join(have)}", name)
        other = row.data[name]
        if not isinstance(other, Mapping) or other.get("prompt") is None:
            continue
        there = Row(f"{row.where}, {name}", other)
        right, wrong = _mib_answers(row, there, kind)
        if right != wrong:
            clean, corrupted = row.text("prompt"), there.text("prompt")
            cluster = clean.partition("\n")[0] if kind == CHOICE else None  # one question
            roles = _ioi_roles(row, clean) if kind == IOI else {}
            yield row, PromptPair(clean, corrupted, [right], [wrong], roles, cluster=cluster)


def _mib_kind(row: Row) -> str:
    if isinstance(row.data.get("choices"), Mapping):
        return CHOICE
    return ARITHMETIC if "label" in row.data else IOI


def _mib_answers(row: Row, there: Row, kind: str) -> tuple[str, str]:
    if kind == ARITHMETIC:
        return str(row.at("label")), str(there.at("label"))
    if kind == CHOICE:
        return _letter(row), _letter(there)
    named = [row.text("metadata", key) for key in ("indirect_object", "subject")]
    return f" {named[0]}", f" {named[1]}"


def _letter(row: Row) -> str:
    labels, key = row.at("choices", "label"), row.at("answerKey")
    if not isinstance(labels, list) or type(key) is not int or not 0 <= key < len(labels):
        raise row.wrong("answerKey", "the place of an answer among choices.label", key)
    return str(labels[key])


def _ioi_roles(row: Row, prompt: str) -> dict[str, Span]:
    """Return where the names stand; nothing where they do not stand as they should."""
    io, subject = (
        [m.span() for m in re.finditer(rf"\b{re.escape(row.text('metadata', key))}\b", prompt)]
        for key in ("indirect_object", "subject")
    )
    if len(io) != 1 or len(subject) != 2:
        return {}
    return {"IO": io[0], "S1": subject[0], "S2": subject[1]}


def counterfact(rows: Sequence[Row], choice: str) -> Iterator[tuple[Row, PromptPair]]:
    """Yield each fact against one of the same relation and wording with another object."""
    asked = []
    for number, row in enumerate(rows):
        frame, subject = row.text(REWRITE, "prompt"), row.text(REWRITE, "subject")
        if frame.count("{}") != 1:
            raise row.wrong(f"{REWRITE}.prompt", "text with one {}", frame)
        before, _, after = frame.partition("{}")
        span = (len(before), len(before) + len(subject))
        relation = str(row.at(REWRITE).get("relation_id", ""))
        asked.append(
            Asked(
                number,
                before + subject + after,
                f" {row.text(REWRITE, 'target_true', 'str')}",
                (relation, frame),
                f"{relation} of {subject}",
                (("subject", span),),
            )
        )
    yield from _paired(rows, asked)


def _paired(rows: Sequence[Row], asked: Sequence[Asked]) -> Iterator[tuple[Row, PromptPair]]:
    for one, other in with_partners(asked):
        roles = dict(one.roles)
        answers, wrong = [one.answer], [other.answer]
        pair = PromptPair(one.prompt, other.prompt, answers, wrong, roles, cluster=one.cluster)
        yield rows[one.row], pair


def blimp(rows: Sequence[Row], choice: str) -> Iterator[tuple[Row, PromptPair]]:
    """Yield the pairs of minimal sentences.

    Where the sentences differ before the word that decides (two prefixes, one word), they are the
    prompts, and the word is the answer. Where they share what is before it (one prefix, two
    words), another row with the same two words, the other way round, is the corrupted prompt.
    """
    asked = []
    for number, row in enumerate(rows):
        if row.data.get("two_prefix_method") is True and not row.data.get("one_prefix_method"):
            good, bad, word = _two_prefixes(row)
            pair = PromptPair(good, bad, [f" {word}"], cluster=f"{good} / {bad}")
            yield row, pair
            continue
        prefix, good, bad = _one_prefix(row)
        words = frozenset((good, bad))
        group = (str(row.data.get("UID", "")), words)
        asked.append(Asked(number, prefix, f" {good}", group, prefix))
    yield from _paired(rows, asked)


def _sentences(row: Row) -> tuple[list[str], list[str], int]:
    """Return the words of both sentences, and the place of the first that differs."""
    good, bad = (row.text(f"sentence_{which}").split() for which in ("good", "bad"))
    both = zip(good, bad, strict=False)
    at = next((i for i, (one, other) in enumerate(both) if one != other), min(len(good), len(bad)))
    if at in (len(good), len(bad)):
        raise row.wrong("sentence_bad", "another sentence than sentence_good", shown(" ".join(bad)))
    return good, bad, at


def _one_prefix(row: Row) -> tuple[str, str, str]:
    keys = ("one_prefix_prefix", "one_prefix_word_good", "one_prefix_word_bad")
    if all(row.data.get(key) for key in keys):
        prefix, good, bad = (row.text(key) for key in keys)
        return prefix, good, bad
    words, others, at = _sentences(row)
    if at == 0:
        raise row.wrong("sentence_good", "one that begins as sentence_bad does", " ".join(words))
    return " ".join(words[:at]), _bare(words[at]), _bare(others[at])


def _two_prefixes(row: Row) -> tuple[str, str, str]:
    keys = ("two_prefix_prefix_good", "two_prefix_prefix_bad", "two_prefix_word")
    if all(row.data.get(key) for key in keys):
        good, bad, word = (row.text(key) for key in keys)
        return good, bad, word
    words, others, at = _sentences(row)
    end = at + 1
    if len(words) != len(others) or words[end:] != others[end:] or end == len(words):
        raise row.wrong("sentence_bad", "sentence_good with one other word", " ".join(others))
    return " ".join(words[:end]), " ".join(others[:end]), _bare(words[end])


def _bare(word: str) -> Any:
    return word.rstrip(".?!,") or word
