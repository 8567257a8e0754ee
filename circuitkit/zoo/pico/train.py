"""The recipe of the pico model: a 4-layer GPT-2 trained on the synthetic language.

Every sequence is the beginning-of-sequence token and then whole documents one after the other, the
last one cut. The loss is the mean cross-entropy of the next token, in nats, over all positions.
"""

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

import torch
from jaxtyping import Float, Int
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from circuitkit.zoo.pico.evaluate import PicoAccuracies, evaluate
from circuitkit.zoo.pico.language import training_document, training_documents
from circuitkit.zoo.pico.tokenizer import build_tokenizer

DEFAULT_STEPS = 3000
BATCH_SIZE = 64
SEQUENCE_LENGTH = 48
REPEAT_FIRST_SHARE = 0.35  # sequences that begin with a repeated list
PEAK_LEARNING_RATE = 2e-3
FINAL_LEARNING_RATE_SHARE = 0.02
WARMUP_STEPS = 200
WEIGHT_DECAY = 0.1
MAX_GRADIENT_NORM = 1.0
LOG_PROMPTS = 200  # prompts of each behaviour behind an accuracy in the log
LOG_NAME = "training_log.csv"
LOG_COLUMNS = ("step", "loss", *(field.name for field in fields(PicoAccuracies)))


def train_pico(
    output_dir: Path,
    *,
    seed: int = 0,
    steps: int = DEFAULT_STEPS,
    log_every: int = 250,
    show_progress: bool = True,
) -> PicoAccuracies:
    """Train pico and return its accuracies on held-out prompts.

    `output_dir` then holds the model and its tokenizer for `from_pretrained`, and the log: one
    line each `log_every` steps with the mean loss since the line before (nats per token) and the
    accuracies. The same seed, steps and number of threads give the same weights on one machine.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=seed)
    batches = training_batches(tokenizer, seed=seed)
    optimizer, schedule = optimizer_of(model, steps)
    losses: list[float] = []
    with (
        (output_dir / LOG_NAME).open("w", newline="") as log_file,
        training_progress(show_progress) as progress,
    ):
        csv.DictWriter(log_file, LOG_COLUMNS).writeheader()
        bar = progress.add_task("training pico", total=steps, note="")
        for step in range(1, steps + 1):
            losses.append(training_step(model, next(batches), optimizer))
            schedule.step()
            if step % log_every == 0 or step == steps:
                accuracies = evaluate(model, tokenizer, n_prompts=LOG_PROMPTS)
                log_line(log_file, step, losses, accuracies)
                losses.clear()
            progress.update(bar, advance=1, note=f"loss {losses[-1]:.3f}" if losses else "")
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    return evaluate(model, tokenizer)


def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> GPT2LMHeadModel:
    """Return an untrained pico. The global random state is left as it was."""
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=128,
        n_layer=4,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def optimizer_of(
    model: GPT2LMHeadModel,
    steps: int,
    *,
    peak: float = PEAK_LEARNING_RATE,
    warmup: int = WARMUP_STEPS,
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Return what updates the weights, and the schedule of its learning rate."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_share(step, steps, warmup)
    )
    return optimizer, schedule


def log_line(file: TextIO, step: int, losses: list[float], accuracies: PicoAccuracies) -> None:
    """Write the mean loss since the line before and the accuracies into the log."""
    loss = round(sum(losses) / len(losses), 4)
    line = {"step": step, "loss": loss, **asdict(accuracies)}
    csv.DictWriter(file, LOG_COLUMNS).writerow(line)
    file.flush()


def training_batches(
    tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> Iterator[Int[Tensor, "sequence pos"]]:
    """Return an endless stream of batches of token ids."""
    rng = random.Random(seed)
    while True:
        yield torch.tensor([training_sequence(tokenizer, rng) for _ in range(BATCH_SIZE)])


def training_sequence(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> list[int]:
    """Return the token ids of one sequence, which begins with a whole document."""
    documents = training_documents(rng)
    first_repeats = rng.random() < REPEAT_FIRST_SHARE
    document = training_document(rng, "repeat") if first_repeats else next(documents)
    ids: list[int] = [tokenizer.bos_token_id]
    while True:
        ids += tokenizer.backend_tokenizer.encode(document.text).ids
        if len(ids) >= SEQUENCE_LENGTH:
            return ids[:SEQUENCE_LENGTH]
        document = next(documents)


def training_step(
    model: GPT2LMHeadModel, batch: Int[Tensor, "sequence pos"], optimizer: torch.optim.Optimizer
) -> float:
    """Update the model on one batch and return the loss before the update, in nats per token."""
    return update(model, optimizer, next_token_loss(model, batch))


def next_token_loss(
    model: GPT2LMHeadModel, batch: Int[Tensor, "sequence pos"]
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of the next token over all positions, in nats."""
    logits = model(batch[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def update(
    model: GPT2LMHeadModel, optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""]
) -> float:
    """Take one step down the loss, and return what it was."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    return float(loss.detach())


def learning_rate_share(step: int, steps: int, warmup: int = WARMUP_STEPS) -> float:
    """Return the share of the peak learning rate: a linear warm-up, then half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return FINAL_LEARNING_RATE_SHARE + (1 - FINAL_LEARNING_RATE_SHARE) * cosine


def training_progress(show_progress: bool) -> Progress:
    """Return a progress bar with the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        disable=not show_progress,
    )
