"""What loading costs beside `from_pretrained` alone: seconds and memory, as ratios in one run.

    python benchmarks/load.py                          Llama 3.2 1B's shape, stored in bfloat16
    python benchmarks/load.py --dtype float32          converted while it is read
    python benchmarks/load.py --layers 4 --cold        smaller; files dropped from the page cache

A random model is written to a temporary directory and loaded in turns: by `from_pretrained` alone;
by it, with one run of the prompt that the check uses (where weights are mapped into memory, nothing
has been read before); and by `load_model`, digest and check included. Memory is the largest growth
of what is not mapped from files, over the weights' bytes.
"""

import argparse
import gc
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from circuitkit.model.check import probe
from circuitkit.zoo import load_model

SHAPE = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128_256,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
WAYS = ("plain", "run", "ours")


def written(directory: Path, n_layers: int) -> int:
    """Write a random model in bfloat16; return how many parameters it has."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, num_hidden_layers=n_layers))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(directory, max_shard_size="10GB")
    return sum(p.numel() for p in model.parameters())


def anonymous() -> int:
    """Return the bytes of this process that are mapped from no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


class Peak(threading.Thread):
    """The largest growth of anonymous memory while it is watched."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first, self.most, self.on = anonymous(), 0, True

    def run(self) -> None:
        """Watch."""
        while self.on:
            self.most = max(self.most, anonymous() - self.first)
            time.sleep(0.005)


def load_plainly(directory: Path, dtype: str, *, runs: bool) -> Any:
    """Load by transformers alone, and perhaps run one prompt."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype))
    if runs:
        with torch.no_grad():
            model(probe(SHAPE["vocab_size"], 4096).tokens[:1])
    return model


def measure(way: str, directory: Path, dtype: str) -> tuple[float, int]:
    """Load once; return the seconds, and the bytes that memory grew by at most."""
    gc.collect()
    peak = Peak()
    peak.start()
    start = time.perf_counter()
    if way == "ours":
        model = load_model(directory, dtype=dtype)
    else:
        model = load_plainly(directory, dtype, runs=way == "run")
    seconds = time.perf_counter() - start
    peak.on = False
    del model
    return seconds, peak.most


def drop(directory: Path) -> None:
    """Let the page cache forget the files."""
    for file in directory.glob("*.safetensors"):
        opened = os.open(file, os.O_RDONLY)
        os.fsync(opened)
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(opened)


def one(way: str, directory: Path, options: argparse.Namespace) -> tuple[float, int]:
    """Return seconds and bytes of one load."""
    if options.cold:
        drop(directory)
    return measure(way, directory, options.dtype)


def main() -> None:
    """Print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cold", action="store_true", help="read the files from the disk")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load_model("pico")  # imports, and what is made once
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        n_parameters = written(directory, options.layers)
        size = n_parameters * torch.finfo(getattr(torch, options.dtype)).bits // 8
        rounds = [
            {way: one(way, directory, options) for way in WAYS} for _ in range(options.repeats)
        ]
    seconds = {way: [each[way][0] for each in rounds] for way in WAYS}
    ratios = {way: [each["ours"][0] / each[way][0] for each in rounds] for way in WAYS[:2]}
    told = {
        "parameters": n_parameters,
        "dtype": options.dtype,
        "cold": options.cold,
        "seconds": {way: [round(s, 2) for s in found] for way, found in seconds.items()},
        "to_from_pretrained": round(statistics.median(ratios["plain"]), 2),
        "to_it_and_one_run": round(statistics.median(ratios["run"]), 2),
        "peak_to_weights": {
            way: round(max(each[way][1] for each in rounds) / size, 3) for way in WAYS
        },
    }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
