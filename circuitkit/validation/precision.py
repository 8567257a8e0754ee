"""How coarse half precision makes a metric: what the same computation in another order changes.

    coarseness = largest abs(m(clean run) - m(full circuit)) over pairs

Both are the same in exact arithmetic. What is smaller than this cannot be told from rounding.
"""

import warnings

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import PrecisionWarning
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.norms import HALF
from circuitkit.model.recording import record
from circuitkit.prompts.pairs import PromptPairs

N_PAIRS = 16  # are enough to see it


def measure_coarseness(
    model: SubjectModel, pairs: PromptPairs, *, ablation: Ablation, metric: Metric
) -> float:
    """Return the coarseness of the metric on some pairs, in its unit."""
    few = pairs.select(range(min(N_PAIRS, len(pairs))))
    logits = record(model, few.clean_batch)[1]
    labels = few.with_clean_logits(logits).labels.to(logits.device)
    clean = metric.values(logits, labels).double().cpu()
    [full] = evaluate_circuits(
        model, few, [Circuit.full(model.graph)], ablation=ablation, metric=metric
    )
    return float((clean - full).abs().max())


def warn_if_coarse(
    model: SubjectModel, pairs: PromptPairs, *, ablation: Ablation, metric: Metric
) -> None:
    """Warn, with the number, if the model runs in half precision."""
    if model.dtype not in HALF:
        return
    coarse = measure_coarseness(model, pairs, ablation=ablation, metric=metric)
    warnings.warn(
        f"model {model.name!r}: a criterion should be judged in float32 or float64, got "
        f"{model.dtype}. The same run in another order differs by up to {coarse:.2g} "
        f"{metric.unit}; smaller effects are rounding. Use --dtype float32.",
        PrecisionWarning,
        stacklevel=2,
    )
