"""Make the gallery again: `python reports/make.py`, from the repository's root.

Each of RUNS is a command as a user would type it; its run directory lies beside this file. The
story model is public and not part of this repository (examples/pronouns.py says which it is): its
run is left as it is where there is no directory `stories260K`. Takes a quarter of an hour.

The pictures of first screens in docs/ are made of the same runs, by a headless Chromium:
`python reports/make.py --screens` makes them alone.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from circuitkit.reporting.html import report_html
from circuitkit.reporting.paper import browser_program
from circuitkit.study.records import load_record

STORIES = Path("stories260K")
RUNS = {  # by the name of their directory
    "ioi--pico": "ioi",
    "induction--pico": "induction",
    "factual-recall--pico": "factual-recall",
    "greater-than--pico": "examples/greater_than.py:GreaterThan",
    "planted-ioi--decoys": "planted-ioi --model planted-ioi:decoys:0 --ablation resample",
    "planted-facts--decoys": "planted-facts --model planted-facts:decoys:0 --ablation resample",
    "pronouns--stories260K": f"examples/pronouns.py:Pronouns --model {STORIES}",
}
# A machine that is busy with other work must not choose less: the budget is ample.
HOW = "--explain --budget 10min --force"  # in place of a run of an earlier version
CLAIMED = ("ioi", "induction", "factual-recall")  # circuits that the contracts of circuits/ are of

SCREENS = ("ioi", "induction", "factual-recall")  # shown in docs/
SCREEN = (1280, 800)
COLOURS = 64  # of a picture, which then takes a third of the room


def main() -> None:
    """Run every command, then make the index and the pictures of first screens."""
    if "--screens" in sys.argv:
        first_screens()
        return
    for name, run in RUNS.items():
        if str(STORIES) in run and not STORIES.exists():
            print(f"left as it is, as there is no {STORIES}: circuitkit run {run}")
            continue
        circuitkit("run", *run.split(), *HOW.split(), "--name", name)
    for task in CLAIMED:
        shutil.copy(f"reports/{task}--pico/circuit.json", f"circuits/{task}.json")
    circuitkit("gallery", "reports")
    first_screens()


def first_screens() -> None:
    """Write docs/first-screen-TASK.png: what a reader sees of each report before scrolling."""
    browser = browser_program()
    if browser is None:
        print("left as they are, as there is no Chromium: docs/first-screen-*.png")
        return
    for task in SCREENS:
        run = Path("reports") / f"{task}--pico"
        with tempfile.TemporaryDirectory() as folder:
            page, shot = Path(folder) / "report.html", Path(folder) / "screen.png"
            page.write_text(report_html(load_record(run)), encoding="utf-8")
            size = f"--window-size={SCREEN[0]},{SCREEN[1]}"
            quiet = ("--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu")
            command = [browser, *quiet, size, f"--screenshot={shot}", page.as_uri()]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            small = Image.open(shot).quantize(COLOURS)
            small.save(Path("docs") / f"first-screen-{task}.png", optimize=True)


def circuitkit(*words: str) -> None:
    """Run one command; what it prints is shown."""
    print("circuitkit", *words, flush=True)
    # exit code 1 says that a circuit is refuted, which is shown as well as any other
    done = subprocess.run([sys.executable, "-m", "circuitkit", *words], check=False)
    if done.returncode > 1:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
