"""How many prompt pairs are needed, and for what: said before any work starts."""

from circuitkit.prompts.splits import Splits
from circuitkit.study.settings import Settings
from circuitkit.study.trimming import LEAST_PAIRS
from circuitkit.validation.criteria import CRITERIA
from circuitkit.validation.judge import MIN_TO_JUDGE


def shortfalls(splits: Splits, settings: Settings) -> tuple[str, ...]:
    """Return what cannot be had with so few pairs, a sentence each; empty where all can."""
    n, said = splits.validation.n_clusters, []
    if n < MIN_TO_JUDGE:
        said.append(
            f"The verdict will be undecided: it needs {MIN_TO_JUDGE} independent validation pairs, "
            f"and there are {n}."
        )
    else:
        asked = settings.criteria or tuple(CRITERIA)
        least = {name: CRITERIA[name].least_pairs for name in asked}
        more = {name: needed for name, needed in least.items() if needed > n}
        said += [
            f"{name} will not be judged: it needs {needed} independent validation pairs, and there "
            f"are {n}."
            for name, needed in more.items()
        ]
    if settings.minimal and len(splits.discovery) < LEAST_PAIRS:
        said.append(
            f"The circuit cannot be made minimal: that needs {LEAST_PAIRS} discovery pairs, and "
            f"there are {len(splits.discovery)}."
        )
    return tuple(said)
