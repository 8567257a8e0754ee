"""Sample pairs as a report shows them: what differs between the two prompts is marked."""

import difflib
import re
from dataclasses import dataclass

from circuitkit.reporting.values import number, visible
from circuitkit.study.records import RunRecord, Sample

Parts = tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class SampleText:
    """A sample pair as shown; prompts are (text, differs from the other prompt) parts."""

    clean: tuple[tuple[str, bool], ...]
    corrupted: tuple[tuple[str, bool], ...]
    answers: tuple[str, ...]
    wrong_answers: tuple[str, ...]
    top: tuple[tuple[str, str], ...]
    metric: str


def sample_texts(record: RunRecord) -> tuple[SampleText, ...]:
    """Return the sample pairs with what differs between their prompts."""
    return tuple(_sample_text(sample) for sample in record.validation.samples)


def _sample_text(sample: Sample) -> SampleText:
    clean, corrupted = _differences(sample.clean, sample.corrupted)
    return SampleText(
        clean,
        corrupted,
        tuple(visible(token) for token in sample.answers),
        tuple(visible(token) for token in sample.wrong_answers),
        tuple((visible(token), f"{probability:.1%}") for token, probability in sample.top),
        number(sample.metric),
    )


def _differences(one: str, other: str) -> tuple[Parts, Parts]:
    """Return both texts cut into parts that are the same in the other and parts that are not."""
    ones, others = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (one, other))
    matcher = difflib.SequenceMatcher(None, ones, others, autojunk=False)
    changes = matcher.get_opcodes()
    left = tuple(("".join(ones[i:j]), tag != "equal") for tag, i, j, _, _ in changes if j > i)
    right = tuple(("".join(others[i:j]), tag != "equal") for tag, _, _, i, j in changes if j > i)
    return left, right
