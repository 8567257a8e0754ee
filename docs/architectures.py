"""Write the table of docs/architectures.md from the families that are tested, and measure each.

`python docs/architectures.py`, from the root of the repository: it takes a minute. Without the
tests' files there is nothing to measure.
"""

import re
import sys
import tempfile
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from circuitkit.model.check import (  # noqa: E402
    probe,
    references_of,
    references_of_bridge,
    relative_gaps,
)
from tests.families import (  # noqa: E402
    CLASSES,
    N_CTX,
    NATIVE,
    NOTES,
    VOCAB,
    make_family,
    save_family,
)

PAGE = Path(__file__).with_suffix(".md")
TABLE = re.compile(r"(?<=\| family ).*?\n\n", re.DOTALL)
HEAD = "| what is particular | gap |\n|---|---|---|\n"


def gap_of(name: str, directory: Path) -> float:
    """Return the largest gap between a family's own code and the parts that it comes apart into."""
    batch = probe(VOCAB, N_CTX)
    if name in NATIVE:
        model = make_family(name, directory)
        references = references_of_bridge(model.bridge, batch, model.device)
    else:
        kind = CLASSES.get(name, transformers.AutoModelForCausalLM)
        own = kind.from_pretrained(
            save_family(name, directory), dtype=torch.float64, attn_implementation="eager"
        ).eval()
        if hasattr(own, "set_experts_implementation"):
            own.set_experts_implementation("eager")
        references = references_of(own, batch)
        model = make_family(name, directory)
    return max(gap for _, gap in relative_gaps(model, batch, references))


def rows(gaps: dict[str, float]) -> str:
    """Return the rows of the table."""
    return "".join(
        f"| {title} | {note} | {gaps[name]:.0e} |\n" for name, (title, note) in NOTES.items()
    )


def named_rows(text: str) -> list[str]:
    """Return the rows of a page without their gaps."""
    [table] = TABLE.findall(text)
    return [line.rpartition(" | ")[0] for line in table.splitlines()[2:] if line]


def main() -> None:
    """Measure every family, and write the page."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    gaps = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in NOTES:
            (Path(directory) / name).mkdir()
            gaps[name] = gap_of(name, Path(directory) / name)
    text = TABLE.sub(lambda found: HEAD + rows(gaps) + "\n", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
