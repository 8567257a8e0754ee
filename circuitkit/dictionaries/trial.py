"""How well a dictionary does on a model and prompts.

    explained variance  =  1 - sum |y - y'|^2 / sum |y - mean y|^2       over tokens
    L0                  =  mean number of features that are not 0         over tokens
    dead share          =  share of features that are 0 on all of them
    loss                =  - log p(answer)                                mean over clean prompts
    loss recovered      =  (zero - reconstruction) / (zero - model)

y is what stands at the place that is written, y' the reconstruction. The losses are those of the
model, with y' in place of y, and with 0 in place of y. Tokens are all real ones of the prompts. A
beginning-of-sequence token counts only on request, and elsewhere keeps its y: its activation is far
larger than any other, and would alone decide the variance.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.dictionaries.dictionary import Dictionary
from circuitkit.dictionaries.spot import Change, Spot, spot_of
from circuitkit.errors import DictionaryError
from circuitkit.metrics import LogProbability
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs

MAX_NUMBERS = 2**24  # features of all tokens of a batch
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Trial:
    """How a dictionary did. Losses are in nats, at the labelled answer of the clean prompts."""

    model: str
    layer: int
    reads: str
    writes: str
    n_prompts: int
    n_tokens: int
    n_bos: int  # beginning-of-sequence tokens that were left out
    explained_variance: float
    l0: float
    dead_share: float
    loss: float
    loss_with_reconstruction: float
    loss_with_zero: float

    def __repr__(self) -> str:
        recovered = self.loss_recovered
        return (
            f"Trial({self.writes} of layer {self.layer} in {self.model}, {self.n_tokens:,} tokens: "
            f"{self.explained_variance:.3f} of the variance, L0 {self.l0:.1f}, "
            f"{self.dead_share:.0%} dead, "
            f"loss recovered {'none to recover' if recovered is None else f'{recovered:.3f}'})"
        )

    @property
    def loss_recovered(self) -> float | None:
        """Share of the loss of zero ablation that the reconstruction saves; None if there is none.

        1: as good as the model; 0: no better than zero.
        """
        lost = self.loss_with_zero - self.loss
        return (self.loss_with_zero - self.loss_with_reconstruction) / lost if lost > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers by name."""
        return asdict(self) | {"loss_recovered": self.loss_recovered}


def try_dictionary(
    dictionary: Dictionary,
    model: SubjectModel,
    pairs: PromptPairs,
    *,
    layer: int | None = None,
    site: str = "",
    with_bos: bool = False,
) -> Trial:
    """Return how well a dictionary does on the clean prompts of some pairs.

    `layer` and `site` (what it reads) say its place where its file does not.

    Raises:
        DictionaryError: it does not fit the model, its place is not known, or it explains nothing.
        PromptError: the prompts do not fit the model.
    """
    spot = spot_of(dictionary, model, layer=layer, site=site)
    model.require_vocabulary(pairs)
    dtype = torch.float32 if model.dtype in HALF else model.dtype
    sums = _Sums(spot, dictionary.to(dtype, model.device))
    size = max(1, MAX_NUMBERS // (pairs.clean.shape[1] * dictionary.n_features))
    with torch.no_grad():
        for batch in pairs.batches(size):
            sums.add(batch, _counted(batch, model, with_bos=with_bos))
    return sums.trial(pairs, dictionary.name or "dictionary")


def _counted(
    pairs: PromptPairs, model: SubjectModel, *, with_bos: bool
) -> Bool[Tensor, "pair pos"]:
    """Return which tokens count."""
    real: Tensor = pairs.prompt_mask
    bos = getattr(model.tokenizer, "bos_token_id", None)
    if with_bos or bos is None:
        return real
    begins: Tensor = (real.long().cumsum(1) == 1) & (pairs.clean == bos)
    return real & ~begins


class _Sums:
    """Sums over tokens and prompts, batch by batch."""

    def __init__(self, spot: Spot, dictionary: Dictionary) -> None:
        self.spot, self.dictionary = spot, dictionary
        self.n_tokens = self.n_active = 0
        self.squared_error = 0.0
        self.ever_active = torch.zeros(dictionary.n_features, dtype=torch.bool)
        self.origin: Tensor | None = None  # near the mean, so that squares stay small
        self.total = self.squares = torch.zeros((), dtype=torch.float64)
        self.losses = [0.0, 0.0, 0.0]

    def add(self, pairs: PromptPairs, counted: Bool[Tensor, "pair pos"]) -> None:
        """Run some prompts three times: as they are, with the reconstruction, and with zeros."""
        keep = counted.to(self.spot.model.device)

        def observe(read: Tensor, written: Tensor) -> None:
            self._observe(read[keep], written[keep])

        def reconstruct(read: Tensor, written: Tensor) -> Tensor:
            out = written.clone()
            out[keep] = self._decoded(read[keep])[1].to(out.dtype)
            return out

        def ablate(read: Tensor, written: Tensor) -> Tensor:
            return written.masked_fill(keep.unsqueeze(-1), 0.0)

        changes: tuple[Change, ...] = (observe, reconstruct, ablate)
        for i, change in enumerate(changes):
            self.losses[i] += self._loss(pairs, change)

    def _loss(self, pairs: PromptPairs, change: Change) -> float:
        logits = self.spot.model.run(pairs.clean_batch, self.spot.hooks(change))
        return -float(LogProbability().values(logits.cpu().double(), pairs.labels).sum())

    def _decoded(self, read: Float[Tensor, "token d_in"]) -> tuple[Tensor, Tensor]:
        read = read.to(self.dictionary.w_enc.dtype)
        features = self.dictionary.encode(read)
        return features, self.dictionary.decode(features, read)

    def _observe(
        self, read: Float[Tensor, "token d_in"], written: Float[Tensor, "token d_out"]
    ) -> None:
        features, output = self._decoded(read)
        is_active = features != 0
        self.n_tokens += len(read)
        self.n_active += int(is_active.sum())
        self.ever_active |= is_active.any(0).cpu()
        written, output = written.cpu().double(), output.cpu().double()
        self.squared_error += float((written - output).pow(2).sum())
        if self.origin is None and len(written):
            self.origin = written.mean(0)
        away = written if self.origin is None else written - self.origin
        self.total = self.total + away.sum(0)
        self.squares = self.squares + away.pow(2).sum()

    def trial(self, pairs: PromptPairs, where: str) -> Trial:
        """Return what was found.

        Raises:
            DictionaryError: no token counted, or the reconstruction is no better than the mean.
        """
        n, spot = self.n_tokens, self.spot
        if n == 0:
            raise DictionaryError(
                f"{where}: at least one token must be read, got none but those that begin a "
                "sequence. There is nothing to reconstruct. Give longer prompts."
            )
        spread = float(self.squares - self.total.pow(2).sum() / n)
        explained = 1 - self.squared_error / spread if spread > 0 else float("nan")
        if not explained > 0:
            raise DictionaryError(
                f"{where}: must explain some of the variance of {spot.writes} in layer "
                f"{spot.layer} of model {spot.model.name!r}, got {explained:.3g}. That is no "
                "better than the mean: it belongs to another model, layer or place. Use one that "
                "was trained there."
            )
        clean, reconstructed, zero = (total / len(pairs) for total in self.losses)
        return Trial(
            model=spot.model.name,
            layer=spot.layer,
            reads=spot.reads,
            writes=spot.writes,
            n_prompts=len(pairs),
            n_tokens=n,
            n_bos=int(pairs.lengths.sum()) - n,
            explained_variance=explained,
            l0=self.n_active / n,
            dead_share=1 - float(self.ever_active.double().mean()),
            loss=clean,
            loss_with_reconstruction=reconstructed,
            loss_with_zero=zero,
        )
