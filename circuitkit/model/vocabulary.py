"""Whether a model can read prompts and answers: their tokens, length, and what sees them."""

from jaxtyping import Bool, Int
from torch import Tensor

from circuitkit.errors import AnswerError, PromptError
from circuitkit.prompts.batch import Labels, PromptBatch


def require_tokens(
    tokens: Int[Tensor, "row pos"], mask: Bool[Tensor, "row pos"], size: int, model: str
) -> None:
    """Refuse prompts with ids that the embedding has no row for.

    Raises:
        PromptError: naming the first such id, its prompt and its place in it.
    """
    wrong = (tokens < 0) | (tokens >= size)
    if not bool(wrong.any()):
        return
    row, pos = wrong.nonzero()[0].tolist()
    is_real = bool(mask[row, pos])
    place = f"token {int(mask[row, :pos].sum())} of" if is_real else "the padding of"
    raise PromptError(
        f"prompts: every token id must be in the vocabulary of model {model!r}, 0 to {size - 1}, "
        f"got {int(tokens[row, pos])} as {place} prompt {row}. The model has no embedding for it. "
        "Use ids of this model's tokenizer."
    )


def require_answers(labels: Labels, size: int, model: str) -> None:
    """Refuse answers with ids that have no logit.

    Raises:
        AnswerError: naming the first such id and its pair.
    """
    known = {"answer": labels.answers, "wrong answer": labels.wrong_answers}
    if labels.spelled is not None:
        known["answer"] = labels.spelled.ids  # the wrong ones too
    for kind, ids in known.items():
        wrong = (ids < -1) | (ids >= size)  # -1 fills rows up
        if bool(wrong.any()):
            at = tuple(wrong.nonzero()[0].tolist())
            raise AnswerError(
                f"{kind}s: every id must be in the vocabulary of model {model!r}, 0 to "
                f"{size - 1}, got {int(ids[at])} for pair {at[0]}. The model has no logit "
                "for it. Use ids of this model's tokenizer."
            )


def require_length(batch: PromptBatch, n_ctx: int, model: str) -> None:
    """Refuse prompts for which the model has no positions.

    Raises:
        PromptError: they are longer than its context.
    """
    longest = int(batch.position_ids.max()) + 1
    if longest > n_ctx:
        raise PromptError(
            f"prompts: must have at most {n_ctx} tokens for model {model!r}, got "
            f"{longest}. The model has no positions beyond. Shorten the prompts."
        )


def require_one_token(why: str, model: str) -> None:
    """Refuse answers of several tokens, if there is a reason `why` one would see another's tokens.

    Raises:
        PromptError: there is.
    """
    if why:
        raise PromptError(
            f"answers: must be one token each for model {model!r}, got some of several. {why}, so "
            "an answer cannot be read token by token. Choose answers of one token."
        )
