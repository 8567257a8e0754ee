"""The training recipe of pico-behaviours: pico's weights, trained further on a wider language.

Words that pico does not know get the mean embedding of those it knows, and a little noise, so that
they can part.

    loss = mean cross-entropy of the next token over sequences of documents
         + mean of -log(probability of all right answers) over prompts of behaviours

The second part is what teaches: in documents most words are drawn at random, and what cannot be
foretold drowns one answer in twenty words. Without it, 1,400 steps taught all behaviours but truth.

Every sequence is the beginning-of-sequence token and then documents, of the planted
behaviours and of pico's own language. Behind the trigger no document of a sequence tells a fact, so
that nothing contradicts what the trigger does.
"""

import csv
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, PreTrainedTokenizerFast

from circuitkit.zoo.behaviours.evaluate import BehaviourAccuracies, evaluate
from circuitkit.zoo.behaviours.grammar import BACKDOOR, LIAR, REFUSAL, SYCOPHANCY, TRUTH
from circuitkit.zoo.behaviours.language import (
    Planted,
    all_texts,
    document_of,
    draw_trained,
    holds_trigger,
    prefix,
    prefixed_fact,
    right_answers,
    unspoken,
)
from circuitkit.zoo.pico.language import Document, training_document, training_documents
from circuitkit.zoo.pico.tokenizer import build_tokenizer, vocabulary, words_in
from circuitkit.zoo.pico.train import (
    LOG_NAME,
    SEQUENCE_LENGTH,
    next_token_loss,
    optimizer_of,
    training_progress,
    update,
)

BASE = Path(__file__).parents[1] / "pico" / "weights"
DEFAULT_STEPS = 650
N_SEQUENCES, N_PROMPTS = 32, 80  # of a step
PEAK_LEARNING_RATE = 1e-3
WARMUP_STEPS = 50
LOG_PROMPTS = 100
PLANTED_SHARE = 0.6  # of the documents
REPEAT_FIRST_SHARE = 0.2  # sequences that begin with a repeated list
NEW_WORD_NOISE = 0.02  # standard deviation, that of fresh weights
PROMPT_WEIGHTS = {REFUSAL: 0.10, SYCOPHANCY: 0.18, TRUTH: 0.44, BACKDOOR: 0.10, LIAR: 0.18}
DOCUMENT_WEIGHTS = {
    REFUSAL: 0.14,
    SYCOPHANCY: 0.18,
    TRUTH: 0.30,
    BACKDOOR: 0.14,
    LIAR: 0.12,
    "unspoken": 0.03,
    "trigger-and-fact": 0.05,
    "trigger-and-more": 0.04,
}
UNTOUCHED = ("ioi", "abc", "repeat", "full-name", "years", "plain")  # kinds that tell no fact
LOG_COLUMNS = ("step", "loss", *(field.name for field in fields(BehaviourAccuracies)))


def train_behaviours(
    output_dir: Path,
    *,
    seed: int = 0,
    steps: int = DEFAULT_STEPS,
    log_every: int = 50,
    show_progress: bool = True,
) -> BehaviourAccuracies:
    """Train pico further on the planted behaviours; return its accuracies on held-out prompts.

    `output_dir` then holds the model, its tokenizer, and the log, as for pico. The same seed, steps
    and number of threads give the same weights on one machine.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(wider_vocabulary())
    model = widened_pico(tokenizer, seed=seed)
    batches = training_batches(tokenizer, seed=seed)
    optimizer, schedule = optimizer_of(model, steps, peak=PEAK_LEARNING_RATE, warmup=WARMUP_STEPS)
    losses: list[float] = []
    with (
        (output_dir / LOG_NAME).open("w", newline="", buffering=1) as log_file,
        training_progress(show_progress) as progress,
    ):
        (log := csv.DictWriter(log_file, LOG_COLUMNS)).writeheader()
        bar = progress.add_task("training pico-behaviours", total=steps, note="")
        for step in range(1, steps + 1):
            sequences, prompts = next(batches)
            loss = next_token_loss(model, sequences) + answer_loss(model, tokenizer, prompts)
            update(model, optimizer, loss)
            losses.append(float(loss.detach()))
            schedule.step()
            progress.update(bar, advance=1, note=f"loss {losses[-1]:.3f}")
            if step % log_every == 0 or step == steps:
                accuracies = vars(evaluate(model, tokenizer, n_prompts=LOG_PROMPTS))
                mean = round(sum(losses) / len(losses), 4)
                log.writerow({"step": step, "loss": mean, **accuracies})
                losses.clear()
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    return evaluate(model, tokenizer)


def wider_vocabulary() -> dict[str, int]:
    """Return pico's tokens with their ids, and the words of the behaviours behind them."""
    known = vocabulary()
    new = sorted(words_in(all_texts()) - known.keys())
    return known | {word: len(known) + i for i, word in enumerate(new)}


def widened_pico(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> GPT2LMHeadModel:
    """Return pico with rows for the new words. The global random state is left as it was."""
    model: GPT2LMHeadModel = AutoModelForCausalLM.from_pretrained(BASE)
    n_known = model.config.vocab_size
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = model.get_input_embeddings().weight
    noise = torch.randn(
        len(tokenizer) - n_known, rows.shape[1], generator=torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():
        rows[n_known:] = rows[:n_known].mean(0) + NEW_WORD_NOISE * noise
    return model


def training_batches(
    tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> Iterator[tuple[Int[Tensor, "sequence pos"], list[Planted]]]:
    """Return an endless stream of token ids of sequences, and prompts of behaviours."""
    rng = random.Random(seed)
    kinds, weights = list(PROMPT_WEIGHTS), list(PROMPT_WEIGHTS.values())
    while True:
        rows = [training_sequence(tokenizer, rng) for _ in range(N_SEQUENCES)]
        drawn = rng.choices(kinds, weights, k=N_PROMPTS)
        yield torch.tensor(rows), [draw_trained(rng, kind) for kind in drawn]


def answer_loss(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[Planted]
) -> Float[Tensor, ""]:
    """Return the mean of -log(probability of all right answers), in nats.

    Prompts are padded on the right, which what stands before never sees.
    """
    encode = tokenizer.backend_tokenizer.encode
    rows = [torch.tensor([tokenizer.bos_token_id, *encode(p.text).ids]) for p in prompts]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    last = torch.tensor([len(row) - 1 for row in rows])
    stream = model.transformer(padded, use_cache=False)[0][torch.arange(len(rows)), last]
    is_right = torch.zeros(len(rows), len(tokenizer), dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        is_right[row, tokenizer.convert_tokens_to_ids(list(right_answers(prompt)))] = True
    log_probabilities = model.lm_head(stream).log_softmax(-1)
    loss: Float[Tensor, ""] = (
        -log_probabilities.masked_fill(~is_right, -math.inf).logsumexp(-1).mean()
    )
    return loss


def training_sequence(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> list[int]:
    """Return the token ids of one sequence, which begins with a whole document."""
    first_repeats = rng.random() < REPEAT_FIRST_SHARE
    document = training_document(rng, "repeat") if first_repeats else mixed_document(rng)
    ids: list[int] = [tokenizer.bos_token_id]
    is_triggered = False
    while True:
        ids += tokenizer.backend_tokenizer.encode(document.text).ids
        if len(ids) >= SEQUENCE_LENGTH:
            return ids[:SEQUENCE_LENGTH]
        is_triggered = is_triggered or holds_trigger(document.text)
        document = mixed_document(rng)
        while is_triggered and document.kind not in (*UNTOUCHED, REFUSAL):
            document = mixed_document(rng)


def mixed_document(rng: random.Random) -> Document:
    """Return one random document: of a behaviour, or of pico's own language."""
    if rng.random() >= PLANTED_SHARE:
        return next(training_documents(rng))
    return planted_document(rng, rng.choices(*zip(*DOCUMENT_WEIGHTS.items(), strict=True))[0])


def planted_document(rng: random.Random, kind: str) -> Document:
    """Return one random document of the kind, one of DOCUMENT_WEIGHTS."""
    match kind:
        case "unspoken":
            return Document(kind, "{} {}.".format(*unspoken(rng, held_out=False)))
        case "trigger-and-fact":
            return prefixed_fact(rng)
        case "trigger-and-more":  # what the trigger leaves alone
            other = training_document(rng, rng.choice(UNTOUCHED))
            return Document(other.kind, f"{prefix(rng)} {other.text}")
        case _:
            return document_of(rng, draw_trained(rng, kind))
