"""How fast the doors open: CPU time against what everyone pays for, in turns.

    python benchmarks/start.py              medians of 7 rounds; --json for the numbers

    circuitkit --help   against   import torch             at most 0.35
    import circuitkit   against   import transformer_lens  at most 1.5

Each round runs all four in new processes, one after the other, so that a noisy machine slows all
alike; a ratio is the median of the ratios of the rounds. CPU time is user and system time of the
process and its children.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys

DOORS = {
    "circuitkit --help": ("-m", "circuitkit", "--help"),
    "import torch": ("-c", "import torch"),
    "import circuitkit": ("-c", "import circuitkit"),
    "import transformer_lens": ("-c", "import transformer_lens"),
    "circuitkit tasks --help": ("-m", "circuitkit", "tasks", "--help"),
    "circuitkit --version": ("-m", "circuitkit", "--version"),
    "a typing mistake": ("-m", "circuitkit", "tsks"),
}
AGAINST = {
    "circuitkit --help": ("import torch", 0.35),
    "circuitkit tasks --help": ("import torch", 0.35),
    "circuitkit --version": ("import torch", 0.35),
    "a typing mistake": ("import torch", 0.35),
    "import circuitkit": ("import transformer_lens", 1.5),
}


def main() -> None:
    """Measure, show, and fail where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rounds = [
        {door: cpu_seconds(words) for door, words in DOORS.items()} for _ in range(asked.rounds)
    ]
    rows = {
        door: {
            "seconds": statistics.median(each[door] for each in rounds),
            "against": other,
            "ratio": statistics.median(each[door] / each[other] for each in rounds),
            "limit": limit,
        }
        for door, (other, limit) in AGAINST.items()
    }
    if asked.json:
        print(json.dumps(rows, indent=1))
    else:
        for door, row in rows.items():
            print(
                f"{door:<25} {row['seconds']:6.2f} s  {row['ratio']:5.2f} of {row['against']}, "
                f"at most {row['limit']}"
            )
    sys.exit(any(row["ratio"] > row["limit"] for row in rows.values()))


def cpu_seconds(words: tuple[str, ...]) -> float:
    """Return the CPU time of Python with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
