"""Make the gallery again: `python reports/make.py`, from the repository's root.

Each line of RUNS is a command as a user would type it; its run directory lies beside this file. The
story model is public and not part of this repository (examples/pronouns.py says which it is): its
run is left as it is where there is no directory `stories260K`. Takes a quarter of an hour.
"""

import subprocess
import sys
from pathlib import Path

ON_PICO = "--method eap-ig --scoring-ablation mean --minimal --explain"
PLANTED = "--method eap-ig --ablation resample --edges 40 --minimal --explain"
STORIES = Path("stories260K")
RUNS = (
    f"ioi --edges 150 {ON_PICO}",
    f"induction --edges 170 {ON_PICO}",
    f"factual-recall --edges 150 {ON_PICO}",
    f"examples/greater_than.py:GreaterThan --edges 150 {ON_PICO}",
    f"planted-ioi --model planted-ioi:decoys:0 {PLANTED}",
    f"planted-facts --model planted-facts:decoys:0 {PLANTED}",
    f"examples/pronouns.py:Pronouns --model {STORIES} --edges 300 {ON_PICO}",
)


def main() -> None:
    """Run every command, then make the index."""
    for run in RUNS:
        if str(STORIES) in run and not STORIES.exists():
            print(f"left as it is, as there is no {STORIES}: circuitkit run {run}")
            continue
        circuitkit("run", *run.split(), "--force")  # in place of that of an earlier version
    circuitkit("gallery", "reports")


def circuitkit(*words: str) -> None:
    """Run one command; what it prints is shown."""
    print("circuitkit", *words, flush=True)
    # exit code 1 says that a circuit is refuted, which is shown as well as any other
    done = subprocess.run([sys.executable, "-m", "circuitkit", *words], check=False)
    if done.returncode > 1:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
