"""How long a search takes, before it starts."""

import time
from dataclasses import dataclass

from circuitkit.model import SubjectModel
from circuitkit.model.recording import record_run
from circuitkit.model.runs import whole_run
from circuitkit.prompts.pairs import PromptPairs

TIMED_PAIRS = 32


@dataclass(frozen=True)
class TimeEstimate:
    """How much a search will run, before it starts: an upper bound where it may stop early."""

    passes: float  # forward passes of one pair
    seconds: float

    def __str__(self) -> str:
        return f"about {self.passes:,.0f} forward passes of one pair, {duration_text(self.seconds)}"


def estimate_of(model: SubjectModel, pairs: PromptPairs, passes: float) -> TimeEstimate:
    """Return an estimate from the time of one batch of clean runs, measured now."""
    return TimeEstimate(passes, passes * seconds_per_pass(model, pairs))


def seconds_per_pass(model: SubjectModel, pairs: PromptPairs) -> float:
    """Return what a forward pass takes for one pair of a batch, measured now."""
    batch = pairs.select(range(min(TIMED_PAIRS, len(pairs)))).clean_batch
    run = whole_run(model, batch)
    record_run(model, run)  # the first run is slower
    start = time.perf_counter()
    record_run(model, run)
    return (time.perf_counter() - start) / len(batch.tokens)


def duration_text(seconds: float) -> str:
    """Return a time as text, in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
