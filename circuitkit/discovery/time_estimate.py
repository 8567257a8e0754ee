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
        return f"about {self.passes:,.0f} forward passes of one pair, {_duration(self.seconds)}"


def estimate_of(model: SubjectModel, pairs: PromptPairs, passes: float) -> TimeEstimate:
    """Return an estimate from the time of one batch of clean runs, measured now."""
    batch = pairs.select(range(min(TIMED_PAIRS, len(pairs)))).clean_batch
    run = whole_run(model, batch)
    record_run(model, run)  # the first run is slower
    start = time.perf_counter()
    record_run(model, run)
    each = (time.perf_counter() - start) / len(batch.tokens)
    return TimeEstimate(passes, passes * each)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
