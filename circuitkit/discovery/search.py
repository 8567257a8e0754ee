"""What the long searches have in common: items, a file of results, and what these depend on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import torch

from circuitkit.discovery.method import Method
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.checkpoint import Checkpoint, open_checkpoint
from circuitkit.work.executors.items import Item, Prepared


def identity_of(
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
    identity = identity_of(method, model, pairs, metric, work) | {"items": items}
    with open_checkpoint(work.checkpoint, identity) as done:
        yield done


def prepared(
    method: Method, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
) -> Prepared:
    """Return this process, ready to compute items of a method that divides.

    Its identity also says what rounding may depend on.

    Raises:
        MethodError: the method does not divide.
    """
    device = model.device
    is_gpu = device.type == "cuda"
    computed_by = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if is_gpu else device.type,
    }
    identity = identity_of(method, model, pairs, metric, work) | computed_by
    return Prepared(identity, method.computing(model, pairs, metric, work))


def in_order(
    items: Mapping[str, Item], own: Prepared, done: Checkpoint, work: Work
) -> Iterator[tuple[Item, Sequence[float]]]:
    """Yield the numbers of every item, in the order of `items`, which names them in the file.

    What is in the file is read, the rest is computed and kept there as it comes.
    """
    known = {key: found for key in items if (found := done.result(key)) is not None}
    missing = {item: key for key, item in items.items() if key not in known}
    coming = work.executor.results(list(missing), own)
    work.progress(0, len(items))
    for n_done, (key, item) in enumerate(items.items(), 1):
        while key not in known:
            computed, numbers = next(coming)
            known[missing[computed]] = list(numbers)
            done.keep(missing[computed], numbers)
        work.progress(n_done, len(items))
        yield item, known.pop(key)
