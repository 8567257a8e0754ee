"""How keys are spread over a text: C = E[k k^T], uncentred, over all tokens but padding.

    rank-one edits    u = C^-1 k*: what an edit does to other keys of the text is least
    MEMIT             lambda C beside the keys that are edited
    AlphaEdit         directions in which C has nothing are free

C is summed in float64, and kept in a file that says of which weights and of which text it is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as saved
from torch import Tensor

from circuitkit.control.editing.projection import keys_of, projection_of
from circuitkit.dictionaries.training.prompts import PromptSource, batch_of
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.work.files import write_whole
from circuitkit.work.progress import Progress, silent
from circuitkit.work.text import error_text, shown

N_TOKENS = 50_000  # of the text, at least
PROMPTS_A_RUN = 64
MOMENT = "second_moment"


@dataclass(frozen=True)
class SecondMoment:
    """C of one layer's keys. `model` and `texts` are digests: of which weights, of which text."""

    matrix: Float[Tensor, "d_mlp d_mlp"] = field(repr=False)
    layer: int
    n_tokens: int
    model: str
    texts: str

    def require_of(self, model: SubjectModel, layer: int) -> None:
        """Refuse to serve another model, or another layer.

        Raises:
            MethodError: it is of other weights, or of another layer.
        """
        if not model.has_weights(self.model) or self.layer != layer:
            raise MethodError(
                f"edit of model {model.name!r}, layer {layer}: the second moment of keys must be "
                f"of this model and layer (digest {model.digest}), got that of layer {self.layer} "
                f"of a model with digest {self.model}. Other weights have other keys. Measure it "
                "anew with `measure_second_moments`."
            )

    def solve(self, keys: Float[Tensor, "key d_mlp"]) -> Float[Tensor, "key d_mlp"]:
        """Return C^-1 k of every key.

        Raises:
            MethodError: C has no inverse: the text has too few tokens.
        """
        root, failed = torch.linalg.cholesky_ex(self.matrix)
        solved = torch.cholesky_solve(keys.double().T, root).T
        if int(failed) or not bool(torch.isfinite(solved).all()):
            raise MethodError(
                f"edit, layer {self.layer}: the second moment of keys must have an inverse, got "
                f"one of {self.n_tokens} tokens for {len(self.matrix)} neurons that has none. The "
                "edit's direction is not known. Give more text."
            )
        return solved


def measure_second_moments(
    model: SubjectModel,
    layers: Sequence[int],
    texts: PromptSource,
    *,
    n_tokens: int = N_TOKENS,
    progress: Progress = silent,
) -> dict[int, SecondMoment]:
    """Return C of some layers on a text, read until there are `n_tokens`.

    Raises:
        MethodError: there is no such layer, or no token is asked for.
    """
    require_tokens(n_tokens)
    sizes = {layer: len(projection_of(model, layer).weight) for layer in layers}
    totals = {layer: torch.zeros(n, n, dtype=torch.float64) for layer, n in sizes.items()}
    done, step = 0, 0
    while done < n_tokens:
        progress(done, n_tokens)
        batch = batch_of(texts.of_step(step, PROMPTS_A_RUN))
        real = batch.mask.to(model.device)
        for layer, keys in zip(layers, keys_of(model, batch, tuple(layers)), strict=True):
            seen = keys[real].double()
            totals[layer] += (seen.T @ seen).cpu()
        done, step = done + int(batch.mask.sum()), step + 1
    progress(n_tokens, n_tokens)
    return {
        layer: SecondMoment(total / done, layer, done, model.digest, texts.digest)
        for layer, total in totals.items()
    }


def require_tokens(n_tokens: int) -> None:
    """Refuse to measure on nothing.

    Raises:
        MethodError: fewer than one token.
    """
    if n_tokens < 1:
        raise MethodError(
            f"edit: the second moment of keys must be of at least 1 token, got {n_tokens}. It "
            f"says how keys are spread. Use {N_TOKENS}."
        )


def kept_second_moments(
    model: SubjectModel,
    layers: Sequence[int],
    texts: PromptSource,
    directory: Path | None,
    *,
    n_tokens: int = N_TOKENS,
    progress: Progress = silent,
) -> dict[int, SecondMoment]:
    """Return C of some layers from files in `directory`; what is not there is measured and kept.

    Raises:
        MethodError: a file there is damaged, or of another model or text.
        OutputError: it cannot be written.
    """
    require_tokens(n_tokens)
    paths = {} if directory is None else _paths(model, layers, texts, directory, n_tokens)
    found = {
        layer: load_second_moment(path, model, layer, texts.digest)
        for layer, path in paths.items()
        if path.exists()
    }
    missing = [layer for layer in layers if layer not in found]
    if missing:
        made = measure_second_moments(model, missing, texts, n_tokens=n_tokens, progress=progress)
        for layer, moment in made.items():
            if paths:
                save_second_moment(moment, paths[layer])
        found |= made
    return {layer: found[layer] for layer in layers}


def _paths(
    model: SubjectModel,
    layers: Sequence[int],
    texts: PromptSource,
    directory: Path,
    n_tokens: int,
) -> dict[int, Path]:
    of = hashlib.sha256(repr((model.digest, texts.digest, n_tokens)).encode()).hexdigest()[:16]
    return {layer: directory / f"second-moment-{layer}-{of}.safetensors" for layer in layers}


def save_second_moment(moment: SecondMoment, path: Path) -> None:
    """Write C with what it is of."""
    told = {name: str(value) for name, value in vars(moment).items() if name != "matrix"}
    write_whole(path, saved({MOMENT: moment.matrix}, metadata=told))


def load_second_moment(path: Path, model: SubjectModel, layer: int, texts: str) -> SecondMoment:
    """Return C as it was written.

    Raises:
        MethodError: the file is damaged, or of another model, layer or text.
    """
    where = f"statistics {shown(str(path))}"
    try:
        with safe_open(path, framework="pt") as file:
            told, matrix = file.metadata(), file.get_tensor(MOMENT)
        found = SecondMoment(
            matrix, int(told["layer"]), int(told["n_tokens"]), told["model"], told["texts"]
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise MethodError(
            f"{where}: must be a file that `save_second_moment` wrote, got {error_text(error)}. "
            "It says how keys are spread. Remove it; it is measured anew."
        ) from error
    found.require_of(model, layer)
    if found.texts != texts:
        raise MethodError(
            f"{where}: must be of the text {shown(texts)}, got one of {shown(found.texts)}. Keys "
            "are spread otherwise there. Name another directory, or remove it."
        )
    return found
