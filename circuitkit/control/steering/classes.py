"""Prompts of two classes, and what stands at their last tokens.

    {"prompt": text, [ids] or [messages], "label": true or false, "topic": "..."}

One JSON object a line; `topic` may be left out. A place in a prompt is counted from its end: -1 is
the last token, at which the answer is read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.dictionaries.training.prompts import batch_of
from circuitkit.errors import PromptError
from circuitkit.model import SubjectModel
from circuitkit.model.forward import NO_HOOKS, Hooks
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from, require_finite_tensor
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.encoding import encode
from circuitkit.prompts.pairs import Prompt, PromptPairs
from circuitkit.work.reading import UnreadableError, parse_json, read_text_file
from circuitkit.work.text import error_text, shown

ROWS = 64  # prompts of one run
KEYS = {"prompt", "label", "topic"}
HooksOf = Callable[[PromptBatch], Hooks]


@dataclass(frozen=True)
class TwoClasses:
    """Prompts as token ids, each with its class and its topic ("" where it has none)."""

    ids: tuple[tuple[int, ...], ...]
    labels: tuple[bool, ...]
    topics: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Sequence[int]) -> "TwoClasses":
        """Return some of the prompts."""
        return TwoClasses(
            tuple(self.ids[row] for row in rows),
            tuple(self.labels[row] for row in rows),
            tuple(self.topics[row] for row in rows),
        )

    def of(self, label: bool) -> "TwoClasses":
        """Return the prompts of one class."""
        return self.select([row for row, each in enumerate(self.labels) if each == label])

    def of_topics(self, topics: Sequence[str]) -> "TwoClasses":
        """Return the prompts of some topics."""
        return self.select([row for row, each in enumerate(self.topics) if each in topics])

    def relabelled(self, labels: Sequence[bool]) -> "TwoClasses":
        """Return the same prompts in other classes."""
        return TwoClasses(self.ids, tuple(bool(each) for each in labels), self.topics)

    def require_both(self, where: str) -> None:
        """Refuse prompts of one class.

        Raises:
            PromptError: a class has no prompts.
        """
        n_true = sum(self.labels)
        if not 0 < n_true < len(self):
            raise PromptError(
                f"{where}: prompts must be of two classes, got {n_true} that are true and "
                f"{len(self) - n_true} that are false. A direction is a difference of the two. "
                "Add prompts of the class that is missing."
            )

    def require_length(self, n: int, where: str) -> None:
        """Refuse prompts without a token at a place.

        Raises:
            PromptError: one has fewer than `n` tokens.
        """
        shortest = min(map(len, self.ids))
        if shortest < n:
            raise PromptError(
                f"{where}: every prompt must have at least {n} tokens, got one of {shortest}. "
                f"Token {-n} from the end is read. Read nearer to the end."
            )

    def batches(self) -> Iterator[tuple[int, PromptBatch]]:
        """Return padded prompts, ROWS at a time, with the number of the first."""
        for start in range(0, len(self), ROWS):
            yield start, batch_of(self.ids[start : start + ROWS])


def two_classes(
    true: Sequence[Prompt], false: Sequence[Prompt], model: SubjectModel, *, bos: str = "auto"
) -> TwoClasses:
    """Return prompts of two classes as the model's tokens."""
    prompts = [*true, *false]
    ids = tuple(tuple(encode(prompt, model.tokenizer, bos).ids) for prompt in prompts)
    labels = (True,) * len(true) + (False,) * len(false)
    return TwoClasses(ids, labels, ("",) * len(ids))


def classes_of_pairs(pairs: PromptPairs) -> TwoClasses:
    """Return the prompts of pairs up to their answer: clean ones are true, corrupted ones false."""
    ids, labels = [], []
    for batch, label in ((pairs.clean_batch, True), (pairs.corrupted_batch, False)):
        for row, last in enumerate(batch.label_pos.tolist()):
            until = slice(0, last + 1)
            ids.append(tuple(batch.tokens[row, until][batch.mask[row, until]].tolist()))
            labels.append(label)
    return TwoClasses(tuple(ids), tuple(labels), ("",) * len(ids))


def read_two_classes(path: Path, model: SubjectModel, *, bos: str = "auto") -> TwoClasses:
    """Return the prompts of a file of two classes.

    Raises:
        PromptError: no such file, a line that does not fit, with its number, or one class only.
    """
    where = f"prompts {shown(str(path))}"
    rows = [_row(raw, at) for raw, at in lines_of(path, where)]
    ids = tuple(tuple(encode(row["prompt"], model.tokenizer, bos).ids) for row in rows)
    found = TwoClasses(
        ids,
        tuple(bool(row["label"]) for row in rows),
        tuple(row.get("topic") or "" for row in rows),
    )
    found.require_both(where)
    return found


def read_prompts(path: Path) -> list[Prompt]:
    """Return the prompts of a file: a text on each line, or a JSON object with `prompt`.

    Raises:
        PromptError: no such file, no prompts, or a JSON object without a prompt.
    """
    where = f"prompts {shown(str(path))}"
    return [
        _object(raw, at)["prompt"] if raw.lstrip().startswith("{") else raw
        for raw, at in lines_of(path, where)
    ]


def lines_of(path: Path, where: str) -> list[tuple[str, str]]:
    """Return the lines of a file that are not blank, each with what messages call it."""
    try:
        text = read_text_file(path)
    except (FileNotFoundError, UnreadableError) as error:
        raise PromptError(
            f"{where}: must be a readable text file, got {error_text(error)}. It holds the "
            "prompts. Check the path."
        ) from error
    found = [
        (raw, f"{where}, line {number}")
        for number, raw in enumerate(text.split("\n"), 1)
        if raw.strip()
    ]
    if not found:
        raise PromptError(f"{where}: must hold at least one prompt, got none. Add lines.")
    return found


def _object(raw: str, where: str) -> dict[str, Any]:
    try:
        found = parse_json(raw)
    except UnreadableError as error:
        found = error_text(error)
    if not isinstance(found, dict) or "prompt" not in found:
        raise PromptError(
            f"{where}: must be a JSON object with a prompt, got {shown(str(found))}. The model "
            "reads it. Correct the line."
        )
    return found


def _row(raw: str, where: str) -> dict[str, Any]:
    found = _object(raw, where)
    has_topic = isinstance(found.get("topic") or "", str)
    if found.get("label") not in (True, False) or set(found) - KEYS or not has_topic:
        raise PromptError(
            f"{where}: must have a label that is true or false, a topic that is text, and no keys "
            f"but "
            f"{', '.join(sorted(KEYS))}, got {shown(str(found))}. The label is the prompt's class. "
            "Correct the line."
        )
    return found


def activations_at_ends(
    model: SubjectModel,
    prompts: TwoClasses,
    points: Sequence[Point],
    ends: Sequence[int] = (-1,),
) -> Float[Tensor, "point end prompt d_model"]:
    """Return what stands at some points and last tokens of each prompt, in float64.

    Raises:
        PromptError: a prompt is too short, or does not fit the model.
        ActivationError: an activation is NaN or infinite.
    """
    prompts.require_length(-min(ends), "steering")
    shape = (len(points), len(ends), len(prompts), model.graph.d_model)
    kept = torch.zeros(shape, dtype=torch.float64)
    for start, batch in prompts.batches():
        chunk = kept[:, :, start : start + len(batch.tokens)]
        hooks = {
            point: partial(_keep, target=target, ends=list(ends))
            for point, target in zip(points, chunk, strict=True)
        }
        with torch.no_grad():
            model.run(batch, hooks)
        with counted_from(start):
            require_finite_tensor(chunk.permute(2, 0, 1, 3), f"model {model.name!r}, activations")
    return kept


def _keep(x: Tensor, *, target: Tensor, ends: list[int]) -> None:
    target.copy_(x[:, ends].transpose(0, 1).double())


def logits_of(
    model: SubjectModel, prompts: TwoClasses, hooks: Hooks | HooksOf = NO_HOOKS
) -> Float[Tensor, "prompt vocab"]:
    """Return the logits behind the last token of each prompt, in float64.

    Hooks that depend on where tokens are may be a function of the batch.

    Raises:
        PromptError: a prompt does not fit the model.
        ActivationError: a logit is NaN or infinite.
    """
    found = []
    for start, batch in prompts.batches():
        with torch.no_grad(), counted_from(start):
            here = hooks(batch) if callable(hooks) else hooks
            logits = model.run(batch, here).double().cpu()
            require_finite_tensor(logits, f"model {model.name!r}, logits")
        found.append(logits)
    return torch.cat(found)
