"""What the long searches have in common: a file of results, and what these depend on."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from circuitkit.discovery.method import Method
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.checkpoint import Checkpoint, open_checkpoint


def _identity_of(
    method: Method, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
) -> dict[str, str]:
    """Return all that the results of a search depend on, as text that can be compared."""
    return {
        "version": version("circuitkit-mi"),
        "method": repr(method),
        "model": f"{model.name}, weights {model.digest}, {model.dtype}"
        + (f", {model.graph.units}" if model.graph.units else ""),
        "prompts": pairs.digest,
        "metric": metric.name,
        "ablation": work.ablation.identity,
        "seed": str(work.seed),
    }


@contextmanager
def open_search(
    method: Method,
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    work: Work,
    items: str,
) -> Iterator[Checkpoint]:
    """Open the results of a search at `work.checkpoint`, for this very work alone.

    `items` says how the work is cut.

    Raises:
        CheckpointError: the file is of other work, or damaged.
    """
    identity = _identity_of(method, model, pairs, metric, work) | {"items": items}
    with open_checkpoint(work.checkpoint, identity) as done:
        yield done
