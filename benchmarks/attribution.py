"""Speed of EAP for all edges of a GPT-2-small-shaped model: ratios measured side by side.

    python benchmarks/attribution.py            a table; --json for the numbers

Three things take turns in one process, so that a noisy machine slows them alike; each ratio is the
median of the ratios of the rounds.

    limit   the plain Hugging Face model, weights frozen, full logits: two forwards, one backward
    ours    circuitkit.discovery.eap.score_edges, all 32,491 edges, the same batch
    peer    transformer_lens 4.3 attribution_patch at edge granularity, one pair at a time
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.attribution_patching import (
    EdgeAttributionConfig,
    attribution_patch,
)
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from circuitkit.discovery import eap
from circuitkit.metrics import LogitDifference
from circuitkit.prompts import PromptPair, PromptPairs
from circuitkit.tokenization import tokenize_pairs
from circuitkit.zoo import load_model

N_PAIRS, LENGTH, VOCAB = 16, 16, 50257
CORRUPTED_POS = 5  # places before it cost nothing: they cannot change
PEER_ROUNDS = 3  # it is slow, and far off


@dataclass(frozen=True)
class Contest:
    """The same work done three ways."""

    limit: Callable[[], object]
    ours: Callable[[], object]
    peer_per_pair: Callable[[], object]


def save_model(directory: Path) -> Path:
    """Save a randomly initialised model of GPT-2 small's shape."""
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(directory)
    # The peer cannot load a directory without a tokenizer; no prompt meets this one.
    words = Tokenizer(WordLevel({"<none>": 0}, unk_token="<none>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<none>").save_pretrained(directory)
    return directory


def make_pairs() -> PromptPairs:
    """Return random pairs that differ at one position."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(0, VOCAB, (N_PAIRS, LENGTH), generator=generator)
    corrupted = clean.clone()
    corrupted[:, CORRUPTED_POS] = torch.randint(0, VOCAB, (N_PAIRS,), generator=generator)
    rows = zip(clean.tolist(), corrupted.tolist(), strict=True)
    return tokenize_pairs([PromptPair(a, b, [11], [22]) for a, b in rows])


def make_contest(directory: Path) -> Contest:
    """Load every contestant with the same weights."""
    pairs = make_pairs()
    plain = GPT2LMHeadModel.from_pretrained(directory).eval().requires_grad_(False)
    model = load_model(directory)
    metric = LogitDifference()
    bridge = TransformerBridge.boot_transformers(str(directory))  # a copy with its own hooks
    bridge.eval()

    def limit() -> None:
        with torch.no_grad():
            plain(pairs.corrupted, use_cache=False)
        embedded = plain.transformer.wte(pairs.clean).requires_grad_()
        logits = plain(inputs_embeds=embedded, use_cache=False).logits[:, -1]
        torch.autograd.grad((logits[:, 11] - logits[:, 22]).sum(), embedded)

    def peer_per_pair() -> None:
        attribution_patch(
            bridge,
            clean=pairs.clean[:1],
            corrupt=pairs.corrupted[:1],
            metric_fn=lambda logits: logits[0, -1, 11] - logits[0, -1, 22],
            config=EdgeAttributionConfig(granularity="edge"),
        )

    return Contest(limit, lambda: eap.score_edges(model, pairs, metric), peer_per_pair)


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(contest: Contest, rounds: int) -> dict[str, float]:
    """Return median seconds of each contestant and median ratios over the rounds."""
    seconds(contest.limit), seconds(contest.ours)  # warm up
    limits, ours, peers = [], [], []
    for _ in range(rounds):
        limits.append(seconds(contest.limit))
        ours.append(seconds(contest.ours))
        limits.append(seconds(contest.limit))
    for _ in range(PEER_ROUNDS):
        peers.append(seconds(contest.peer_per_pair))
        ours.append(seconds(contest.ours))
    around = [(a + b) / 2 for a, b in zip(limits[::2], limits[1::2], strict=True)]
    return {
        "limit_s": statistics.median(limits),
        "ours_s": statistics.median(ours),
        "peer_s_per_pair": statistics.median(peers),
        "ours_over_limit": statistics.median(
            mine / theirs for mine, theirs in zip(ours[:rounds], around, strict=True)
        ),
        "peer_over_ours_per_pair": statistics.median(
            peer / (mine / N_PAIRS) for peer, mine in zip(peers, ours[rounds:], strict=True)
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as directory:
        numbers = measure(make_contest(save_model(Path(directory))), options.rounds)
    if options.json:
        print(json.dumps(numbers, indent=1))
        return
    print(f"{N_PAIRS} pairs of {LENGTH} tokens, 32,491 edges, medians of {options.rounds} rounds")
    print(f"limit, two forwards and one backward  {numbers['limit_s']:8.3f} s")
    print(f"ours, all edges                       {numbers['ours_s']:8.3f} s")
    print(f"ours / limit                          {numbers['ours_over_limit']:8.2f} x")
    print(f"peer, per pair                        {numbers['peer_s_per_pair']:8.3f} s")
    print(f"peer / ours, per pair                 {numbers['peer_over_ours_per_pair']:8.1f} x")


if __name__ == "__main__":
    main()
