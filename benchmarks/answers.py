"""Answers of several tokens in one pass, beside a run for each of their tokens.

    python benchmarks/answers.py [--pairs 8] [--tokens 3] [--rounds 3]

EAP of all edges of a random GPT-2 small, prompts of 16 tokens that differ from position 5 on, a
right and a wrong answer of so many tokens; in one process and on one thread, in turns. The ratio is
the median over rounds; both give the same scores (tests/interventions).
"""

import random
import statistics
import tempfile
import time
from typing import Annotated

import torch
import typer
from transformers import GPT2Config, GPT2LMHeadModel

from circuitkit.discovery.eap import score_edges
from circuitkit.metrics import LogitDifference, LogProbability, Metric
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model

N_TOKENS, FIRST_CHANGED = 16, 5


def main(
    pairs: Annotated[int, typer.Option("--pairs", help="Prompt pairs.")] = 8,
    tokens: Annotated[int, typer.Option("--tokens", help="Tokens of an answer.")] = 3,
    rounds: Annotated[int, typer.Option("--rounds", help="Turns of each.")] = 3,
) -> None:
    """Print the seconds of both ways and their ratio."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    given = [_pair(rng, tokens) for _ in range(pairs)]
    together = tokenize_pairs(given)
    apart = tokenize_pairs([row for pair in given for row in _rows(pair)])
    with tempfile.TemporaryDirectory() as directory:
        GPT2LMHeadModel(GPT2Config()).save_pretrained(directory)
        model = load_model(directory)

        def seconds(some: PromptPairs, metric: Metric) -> float:
            begun = time.perf_counter()
            score_edges(model, some, metric)
            return time.perf_counter() - begun

        seconds(together, LogitDifference())  # both have seen their memory
        ratios = []
        for _ in range(rounds):
            one, other = seconds(together, LogitDifference()), seconds(apart, LogProbability())
            ratios.append(one / other)
            print(f"in one pass {one:.2f} s, a run for each token {other:.2f} s", flush=True)
    print(f"{pairs} pairs, 2 answers of {tokens} tokens: {statistics.median(ratios):.2f} x")


def _pair(rng: random.Random, n_tokens: int) -> PromptPair:
    def drawn(n: int) -> list[int]:
        return [rng.randrange(50_257) for _ in range(n)]

    clean = drawn(N_TOKENS)
    corrupted = [*clean[:FIRST_CHANGED], *drawn(N_TOKENS - FIRST_CHANGED)]
    return PromptPair(clean, corrupted, [drawn(n_tokens)], [drawn(n_tokens)])


def _rows(pair: PromptPair) -> list[PromptPair]:
    """Return a plain pair for each token of each answer."""
    return [
        PromptPair([*pair.clean, *answer[:t]], [*pair.corrupted, *answer[:t]], [token])
        for answer in (*pair.answers, *pair.wrong_answers)
        for t, token in enumerate(answer)
    ]


if __name__ == "__main__":
    typer.run(main)
