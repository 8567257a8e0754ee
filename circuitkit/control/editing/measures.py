"""What an edit changed, measured as CounterFact does (Meng et al. 2022, arXiv:2202.05262).

    efficacy          P(target) > P(true) on the edited prompt
    paraphrase        the same, in the fact's other wordings
    neighbourhood     P(true) > P(target) on the same wordings about other subjects
    same subject      the true answer is the first, on other facts of the subject
    ... magnitude     the mean difference of these probabilities
    ... change        after the edit less before it
    fluency           2/3 of the entropy of bigrams and 4/3 of that of trigrams of what the model
                      writes behind the fact's wordings, halved: bits; in the model's tokens
    KL                of the model's next token to the edited model's, on unrelated text: nats

CounterFact's neighbours share the true answer; these share the wording and seldom the answer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.control.editing.facts import Fact, read_facts
from circuitkit.control.editing.questions import Questions
from circuitkit.control.editing.writing import continued
from circuitkit.dictionaries.training.prompts import TokenIds, batch_of
from circuitkit.errors import PromptError
from circuitkit.model import SubjectModel
from circuitkit.statistics.bootstrap import MIN_PAIRS, Values, mean_estimate
from circuitkit.statistics.clusters import Clusters
from circuitkit.statistics.shares import share_of

N_TEXTS = 64  # of unrelated text
N_PLACES = 8  # of each, that the next token is read at
N_WRITTEN = 24  # tokens behind a prompt, as far as the context allows
MAX_WRITERS = 6  # prompts that are continued
BATCH = 64  # prompts of a run
KINDS = ("efficacy", "paraphrase", "neighbourhood", "same subject")


@dataclass(frozen=True)
class Answers:
    """What a model makes of some questions: P(target), P(true), and whether true is the first."""

    target: Values
    true: Values
    is_first: Values


@dataclass(frozen=True)
class Outcome:
    """What one edit changed: answers before and after by kind, the subject of each, and text."""

    fact: Fact
    before: dict[str, Answers]
    after: dict[str, Answers]
    subjects: dict[str, tuple[object, ...]]
    fluency: tuple[float, float]  # before, after
    kl: Values  # of each unrelated text


@dataclass(frozen=True)
class Measure:
    """A mean over questions with its 95 % interval, None where they are too few to have one.

    `n` counts facts, where there are several, or else subjects or texts.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3g}"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Unedited:
    """What the model does before any edit, measured once for all."""

    model: SubjectModel
    questions: Questions
    answers: dict[str, Answers]
    written: float
    texts: tuple[TokenIds, ...]
    logs: Float[Tensor, "text place vocab"]
    seed: int = 0


def unedited(
    model: SubjectModel, questions: Questions, texts: Sequence[TokenIds], *, seed: int = 0
) -> Unedited:
    """Return what a model does before the edit.

    Raises:
        PromptError: a question cannot be read, or the unrelated texts are too short.
        AnswerError: a target or a true answer has several tokens.
    """
    chosen = tuple(text for text in texts if len(text) > N_PLACES)[:N_TEXTS]
    if not chosen:
        raise PromptError(
            f"edit: unrelated texts must have more than {N_PLACES} tokens, got none of "
            f"{len(texts)} that have. The KL of an edit is measured there. Give longer texts."
        )
    return Unedited(
        model,
        questions,
        {kind: answers_of(model, asked) for kind, asked in by_kind(questions).items()},
        fluency(model, questions, seed=seed),
        chosen,
        next_token_logs(model, chosen),
        seed,
    )


def outcome(base: Unedited, edited: SubjectModel) -> Outcome:
    """Return what an edit changed."""
    asked = by_kind(base.questions)
    logs = next_token_logs(edited, base.texts)
    kl = (base.logs.exp() * (base.logs - logs)).sum(-1).mean(-1)
    return Outcome(
        base.questions.fact,
        base.answers,
        {kind: answers_of(edited, facts) for kind, facts in asked.items()},
        {kind: tuple(_about(fact, kind) for fact in facts) for kind, facts in asked.items()},
        (base.written, fluency(edited, base.questions, seed=base.seed)),
        kl.double().cpu().numpy(),
    )


def _about(fact: Fact, kind: str) -> str:
    """Return what a question is about: wordings of one fact are no independent questions."""
    return f"{fact.subject_text}: {fact.true}" if kind == "same subject" else str(fact.subject_text)


def by_kind(questions: Questions) -> dict[str, tuple[Fact, ...]]:
    """Return all that is asked, by what it measures; kinds without questions are left out."""
    every = ((questions.fact,), questions.paraphrases, questions.neighbours, questions.others)
    return {kind: facts for kind, facts in zip(KINDS, every, strict=True) if facts}


def answers_of(model: SubjectModel, facts: Sequence[Fact]) -> Answers:
    """Return what a model makes of questions."""
    rows: list[tuple[float, float, bool]] = []
    for start in range(0, len(facts), BATCH):
        pairs = read_facts(facts[start : start + BATCH], model.tokenizer)
        model.require_vocabulary(pairs)
        with torch.no_grad():
            likely = model.run(pairs.clean_batch).double().softmax(-1).cpu()
        target, true = pairs.labels.answers[:, 0], pairs.labels.wrong_answers[:, 0]
        at = torch.arange(len(likely))
        first = likely.argmax(-1) == true
        rows += zip(
            likely[at, target].tolist(), likely[at, true].tolist(), first.tolist(), strict=True
        )
    columns = np.array(rows, dtype=np.float64)
    return Answers(columns[:, 0], columns[:, 1], columns[:, 2])


def next_token_logs(
    model: SubjectModel, texts: Sequence[TokenIds]
) -> Float[Tensor, "text place vocab"]:
    """Return log P of the next token at some places of each text, spread over the shortest."""
    batch = batch_of(texts)
    width, shortest = batch.tokens.shape[1], min(map(len, texts))
    places = torch.linspace(width - shortest, width - 1, N_PLACES).long().expand(len(texts), -1)
    batch = replace(batch, label_pos=places[:, 0], further=places[:, 1:])
    with torch.no_grad():
        return model.run(batch).float().log_softmax(-1)


def fluency(model: SubjectModel, questions: Questions, *, seed: int) -> float:
    """Return how varied the text is that a model writes behind the fact's wordings."""
    asked = [questions.fact, *questions.paraphrases][:MAX_WRITERS]
    batch = read_facts(asked, model.tokenizer).clean_batch
    rows = [tuple(row[real].tolist()) for row, real in zip(batch.tokens, batch.mask, strict=True)]
    n = min(N_WRITTEN, model.n_ctx - max(map(len, rows)))
    texts = continued(model, rows, n, seed=seed)
    return float(np.mean([n_gram_entropy(text) for text in texts]))


def n_gram_entropy(text: Sequence[int]) -> float:
    """Return the mean of 2/3 of the entropy of bigrams and 4/3 of that of trigrams, in bits."""
    weighted = []
    for n, weight in ((2, 2 / 3), (3, 4 / 3)):
        counts = Counter(zip(*(text[i:] for i in range(n)), strict=False))
        shares = np.array(list(counts.values()), dtype=np.float64) / max(1, sum(counts.values()))
        weighted.append(weight * float(-(shares * np.log2(shares)).sum()))
    return float(np.mean(weighted))


def summary(outcomes: Sequence[Outcome]) -> tuple[Measure, ...]:
    """Return the measures over edits; facts are independent, or where there is one its subjects."""
    found: list[Measure] = []
    for kind in KINDS:
        rows = [(i, each) for i, each in enumerate(outcomes) if kind in each.after]
        if rows:
            found += _of_kind(kind, rows, by_fact=len(outcomes) > 1)
    written = np.array([each.fluency for each in outcomes])
    found.append(_mean("fluency", written[:, 1], None))
    found.append(_mean("fluency change", written[:, 1] - written[:, 0], None))
    kl = [each.kl.mean() for each in outcomes] if len(outcomes) > 1 else outcomes[0].kl
    found.append(_mean("KL on unrelated text", np.asarray(kl), None))
    return tuple(found)


def _of_kind(
    kind: str, rows: Sequence[tuple[int, Outcome]], *, by_fact: bool
) -> tuple[Measure, ...]:
    before = _joined([each.before[kind] for _, each in rows])
    after = _joined([each.after[kind] for _, each in rows])
    labels = [
        str(i) if by_fact else str(subject) for i, each in rows for subject in each.subjects[kind]
    ]
    if not by_fact and kind == "paraphrase":  # one fact, asked in several wordings
        labels = [str(n) for n in range(len(labels))]
    clusters = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    if kind == "same subject":
        hits = (before.is_first, after.is_first)
        sizes = before.true, after.true
    else:
        sign = -1 if kind == "neighbourhood" else 1
        sizes = sign * (before.target - before.true), sign * (after.target - after.true)
        hits = (np.sign(sizes[0]) + 1) / 2, (np.sign(sizes[1]) + 1) / 2
    return (
        _share(kind, hits[1], clusters),
        _mean(f"{kind} magnitude", sizes[1], clusters),
        _mean(f"{kind} change", hits[1] - hits[0], clusters),
    )


def _joined(parts: Sequence[Answers]) -> Answers:
    columns = ("target", "true", "is_first")
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def _share(name: str, hits: Values, clusters: Clusters) -> Measure:
    n = len(np.unique(clusters))
    if n < MIN_PAIRS:
        return Measure(name, float(hits.mean()), None, None, n)
    found = share_of(hits, clusters)
    return Measure(name, found.value, found.low, found.high, n)


def _mean(name: str, values: Values, clusters: Clusters | None) -> Measure:
    n = len(values if clusters is None else np.unique(clusters))
    if n < MIN_PAIRS:
        return Measure(name, float(values.mean()), None, None, n)
    found = mean_estimate(values, clusters=clusters)
    return Measure(name, found.value, found.low, found.high, n)
