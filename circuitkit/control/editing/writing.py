"""Text that a model writes by itself: what stands in front of edited facts, and behind them."""

from collections.abc import Sequence

import torch

from circuitkit.control.editing.facts import PlainPrompt
from circuitkit.dictionaries.training.prompts import TokenIds, batch_of
from circuitkit.model import SubjectModel

ENDS = " .,:;!?"  # what is not repeated in front of ". "
PREFIX_LENGTHS = (5, 10)  # tokens; half of the prefixes have each


def continued(
    model: SubjectModel, prompts: Sequence[TokenIds], n_tokens: int, *, seed: int
) -> list[tuple[int, ...]]:
    """Return what the model writes behind each prompt, token by token by its probabilities.

    Special tokens are not written.
    """
    generator = torch.Generator().manual_seed(seed)
    known = getattr(model.tokenizer, "all_special_ids", [])
    special = [token for token in known if token < model.n_logits]
    rows = [list(prompt) for prompt in prompts]
    with torch.no_grad():
        for _ in range(n_tokens):
            logits = model.run(batch_of(rows)).float().cpu()
            logits[:, special] = -torch.inf
            drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
            for row, token in zip(rows, drawn.tolist(), strict=True):
                row.append(token)
    return [tuple(row[len(p) :]) for row, p in zip(rows, prompts, strict=True)]


def prefixes(model: SubjectModel, n: int, *, seed: int, like: PlainPrompt) -> list[PlainPrompt]:
    """Return texts that the model begins by itself, half of them short; token ids for token ids.

    Behind text stands ". ", so that a fact can follow.
    """
    found: list[PlainPrompt] = []
    for i, length in enumerate(PREFIX_LENGTHS):
        rows = [_start(model)] * (n // 2 if i else n - n // 2)
        if not rows:
            continue
        for ids in continued(model, rows, length, seed=seed * len(PREFIX_LENGTHS) + i):
            found.append(_sentence(model.text_of(ids)) if isinstance(like, str) else ids)
    return found


def _sentence(text: str) -> str:
    return text.strip().rstrip(ENDS) + ". "


def _start(model: SubjectModel) -> TokenIds:
    tokenizer = model.tokenizer
    for name in ("bos_token_id", "eos_token_id"):
        token = getattr(tokenizer, name, None)
        if token is not None:
            return (int(token),)
    return (0,)
