"""How long loading takes, and how much of it is the digest of the weights.

    python benchmarks/load.py --millions 300 --dtype bfloat16 --device cpu

A random model of Llama's shape is written to a temporary directory, in bfloat16, and loaded again
as `load_model` does. `digest_seconds` is the time in `file_digest` within it, `legacy_seconds` that
of the older form in the same process. Files come from the page cache where they fit into it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from circuitkit.model import digests, loading
from circuitkit.zoo import load_model

SHAPE = {"num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32_000}
WIDTH, MLP_WIDTH = 2048, 5632
PER_LAYER = WIDTH * WIDTH * 5 // 2 + 3 * WIDTH * MLP_WIDTH


def written(directory: Path, millions: int) -> int:
    """Write a random model of about that many million parameters; return how many it has."""
    ends = 2 * WIDTH * SHAPE["vocab_size"]
    n_layers = max(1, (millions * 10**6 - ends) // PER_LAYER)
    config = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=MLP_WIDTH, num_hidden_layers=n_layers, **SHAPE
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(directory, max_shard_size="1GB")
    return sum(p.numel() for p in model.parameters())


class Clock:
    """The seconds spent in a function."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments):
        start = time.perf_counter()
        found = self.function(*arguments)
        self.seconds += time.perf_counter() - start
        return found


def measured(directory: Path, dtype: str, device: str) -> dict[str, object]:
    """Load once with clocks in place."""
    clock = Clock(digests.file_digest)
    start = time.perf_counter()
    with mock.patch.object(loading, "file_digest", clock):
        model = load_model(directory, dtype=dtype, device=device)
    if model.device.type == "cuda":
        torch.cuda.synchronize()  # copies to the device are part of loading
    seconds = time.perf_counter() - start
    return {
        "load_seconds": round(seconds, 2),
        "digest_seconds": round(clock.seconds, 2),
        "digest_share": round(clock.seconds / seconds, 3),
        "digest": model.digest,
    }


def main() -> None:
    """Print the numbers as JSON, one line a load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, default=300)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--legacy", action="store_true", help="time the older form too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        n_parameters = written(directory, options.millions)
        for _ in range(options.repeats):
            row = {"parameters": n_parameters, "dtype": options.dtype}
            print(json.dumps(row | measured(directory, options.dtype, options.device)), flush=True)
        if options.legacy:
            hf_model = LlamaForCausalLM.from_pretrained(directory, dtype=options.dtype)
            clock = Clock(digests.legacy_digest)
            clock(hf_model)
            print(json.dumps({"legacy_seconds": round(clock.seconds, 2)}))


if __name__ == "__main__":
    main()
