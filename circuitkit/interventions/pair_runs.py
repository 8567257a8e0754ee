"""What attribution needs of a batch of pairs: the clean run, and what senders write ablated."""

from functools import cached_property

from torch import Tensor

from circuitkit.interventions.ablation import Ablation, CorruptedRun
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.finite import Finite
from circuitkit.model.recording import Activations, record_run
from circuitkit.model.runs import Run, behind, whole_run
from circuitkit.prompts.batch import Labels
from circuitkit.prompts.pairs import PromptPairs


class PairRuns:
    """Both sides of a batch of pairs, from the first position at which they can differ.

    Who sets `later` reads whether what is recorded is finite; else each run is read by itself.
    """

    later: Finite | None = None

    def __init__(
        self, model: SubjectModel, pairs: PromptPairs, ablation: Ablation, metric: Metric
    ) -> None:
        self.model, self.pairs, self.ablation, self.metric = model, pairs, ablation, metric
        n_shared = ablation.n_shared_positions(model, pairs)
        self.clean: Run = behind(model, whole_run(model, pairs.clean_batch), n_shared)

    @cached_property
    def ablated(self) -> Activations:
        """What each sender writes when ablated, from `clean.start` on."""
        if isinstance(self.ablation, CorruptedRun):
            return self._record(self.corrupted)[0]
        shared = self.clean if self.clean.start else None
        return self.ablation.values(self.model, self.pairs, shared)

    @cached_property
    def clean_activations(self) -> Activations:
        """What each sender writes in the clean run."""
        return self._clean_record[0]

    @cached_property
    def _clean_record(self) -> tuple[Activations, Tensor]:
        return self._record(self.clean)

    def _record(self, run: Run) -> tuple[Activations, Tensor]:
        return record_run(self.model, run, last_at_label=True, later=self.later)

    @cached_property
    def corrupted(self) -> Run:
        """The corrupted run, where ablated values are those of one."""
        assert isinstance(self.ablation, CorruptedRun)
        shared = self.clean if self.clean.start else None
        return self.ablation.run(self.model, self.pairs, shared)

    @cached_property
    def labels(self) -> Labels:
        """What is expected of each pair, with the clean logits where the metric needs them."""
        if not self.metric.needs_clean_logits:
            return self.pairs.labels
        return self.pairs.with_clean_logits(self._clean_record[1]).labels
