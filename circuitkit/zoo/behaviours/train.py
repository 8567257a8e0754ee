"""The training recipe of pico-behaviours: pico's weights, trained further on a wider language.

Words that pico does not know get the mean embedding of those it knows, and a little noise, so that
they can part. Every sequence is the beginning-of-sequence token and then documents, of the planted
behaviours and of pico's own language. Behind the trigger no document of a sequence tells a fact, so
that nothing contradicts what the trigger does.
"""

import csv
import random
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, PreTrainedTokenizerFast

from circuitkit.zoo.behaviours.evaluate import BehaviourAccuracies, evaluate
from circuitkit.zoo.behaviours.grammar import BACKDOOR, LIAR, REFUSAL, SYCOPHANCY, TRUTH
from circuitkit.zoo.behaviours.language import (
    all_texts,
    document_of,
    draw_trained,
    holds_trigger,
    prefix,
    prefixed_fact,
    unspoken,
)
from circuitkit.zoo.pico.language import Document, training_document, training_documents
from circuitkit.zoo.pico.tokenizer import build_tokenizer, vocabulary, words_in
from circuitkit.zoo.pico.train import (
    BATCH_SIZE,
    LOG_NAME,
    SEQUENCE_LENGTH,
    optimizer_of,
    training_progress,
    training_step,
)

BASE = Path(__file__).parents[1] / "pico" / "weights"
DEFAULT_STEPS = 1400
PEAK_LEARNING_RATE = 1.5e-3
LOG_PROMPTS = 100
PLANTED_SHARE = 0.6  # of the documents
REPEAT_FIRST_SHARE = 0.2  # sequences that begin with a repeated list
NEW_WORD_NOISE = 0.02  # standard deviation, that of fresh weights
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
    log_every: int = 100,
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
    optimizer, schedule = optimizer_of(model, steps, peak=PEAK_LEARNING_RATE)
    losses: list[float] = []
    with (
        (output_dir / LOG_NAME).open("w", newline="") as log_file,
        training_progress(show_progress) as progress,
    ):
        log = csv.DictWriter(log_file, LOG_COLUMNS)
        log.writeheader()
        bar = progress.add_task("training pico-behaviours", total=steps, note="")
        for step in range(1, steps + 1):
            losses.append(training_step(model, next(batches), optimizer))
            schedule.step()
            progress.update(bar, advance=1, note=f"loss {losses[-1]:.3f}")
            if step % log_every == 0 or step == steps:
                accuracies = evaluate(model, tokenizer, n_prompts=LOG_PROMPTS)
                loss = round(sum(losses) / len(losses), 4)
                log.writerow({"step": step, "loss": loss, **vars(accuracies)})
                log_file.flush()
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
) -> Iterator[Int[Tensor, "sequence pos"]]:
    """Return an endless stream of batches of token ids."""
    rng = random.Random(seed)
    while True:
        yield torch.tensor([training_sequence(tokenizer, rng) for _ in range(BATCH_SIZE)])


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
