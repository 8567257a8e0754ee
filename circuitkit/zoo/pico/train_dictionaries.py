"""The recipe of pico's dictionaries: an SAE and a transcoder of every MLP, and what they are worth.

Both are trained on sequences as pico itself was, drawn afresh for every step. Beside them stand two
controls: an SAE of every MLP of an untrained pico, by the same plan, and random directions that are
active as often as the SAE's features (random_directions.py).

`card.json` holds every number; docs/pico-dictionaries.md is made of it.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from circuitkit.dictionaries.training.finished import Finished, save_finished
from circuitkit.dictionaries.training.places import TrainedPlace, places_named, read_places
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.prompts import DrawnPrompts, TokenIds, batch_of
from circuitkit.dictionaries.training.quality import Coder, Quality, measure_quality
from circuitkit.dictionaries.training.train import Training, train
from circuitkit.model import SubjectModel, from_hf
from circuitkit.work.files import require_writable_directory, write_whole
from circuitkit.work.progress import Progress
from circuitkit.zoo.pico.categories import Labelled, labelled_sequences
from circuitkit.zoo.pico.evaluate import untrained_copy
from circuitkit.zoo.pico.monosemantic import ENOUGH_F1, Monosemantic, measure_monosemantic
from circuitkit.zoo.pico.random_directions import random_like
from circuitkit.zoo.pico.tokenizer import build_tokenizer
from circuitkit.zoo.pico.train import training_sequence

SAE = Plan(
    kind="batchtopk",
    n_features=512,
    k=8,
    steps=500,
    prompts_per_step=24,
    learning_rate=5e-3,
    dead_after=20_000,
    aux_weight=1 / 8,
)
TRANSCODER = replace(SAE, kind="transcoder")
STORED_AS = torch.float16  # half the size; the card is of what is read back from it
N_SEQUENCES = 1000  # held out, that categories are measured on
N_RUN = 300  # of them, that the model is run on with a dictionary in it
CARD = "card.json"
UNTRAINED = "sae of an untrained model"
Stage = Callable[[str], Progress]


@dataclass(frozen=True)
class Row:
    """What one dictionary or control of the card is worth.

    `of` is sae, transcoder, random directions, or sae of an untrained model. The loss of the last
    hardly depends on any MLP, so that no share of it is given.
    """

    of: str
    place: str
    quality: Quality
    monosemantic: Monosemantic


def pico_prompts(seed: int = 0) -> DrawnPrompts:
    """Return sequences as pico was trained on, drawn afresh for every step."""
    tokenizer = build_tokenizer()

    def draw(rng: random.Random) -> TokenIds:
        return training_sequence(tokenizer, rng)

    return DrawnPrompts(draw, f"pico's language, seed {seed}", seed)


def train_pico_dictionaries(
    model: SubjectModel, directory: Path, stage: Stage, *, seed: int = 0
) -> list[Row]:
    """Train every dictionary, write it to a folder of its own, and return what all are worth.

    What is done is kept beside, so that a run that was cut off goes on.

    Raises:
        OutputError: the directory cannot be written.
    """
    require_writable_directory(directory)
    tokenizer = build_tokenizer()
    held_out = labelled_sequences(tokenizer, N_SEQUENCES, seed=f"card {seed}")
    judge = _Judge(held_out, tokenizer)
    untrained = from_hf(untrained_copy(model.bridge.original_model), name="untrained")
    studied = {
        "sae": (model, replace(SAE, seed=seed)),
        "transcoder": (model, replace(TRANSCODER, seed=seed)),
        UNTRAINED: (untrained, replace(SAE, seed=seed)),
    }
    rows = []
    for of, (subject, plan) in studied.items():
        places = places_named("mlps", subject, reads_mlp_input=plan.reads_mlp_input)
        training = Training(subject, places, plan, pico_prompts(seed))
        kept = directory / f".training-{of.replace(' ', '-')}"
        made = train(training, checkpoint=kept, progress=stage(f"Training: {of}"))
        for dictionary in made:
            stored = dictionary.stored_as(STORED_AS)
            rows.append(judge.row(of, subject, stored))
            if of == "sae":
                control = judge.random_row(subject, stored)
                rows.append(control)
            if subject is model:
                folder = directory / folder_name(dictionary.place)
                save_finished(dictionary, folder, "pico", stored_as=STORED_AS)
    write_whole(directory / CARD, card_text(rows, seed))
    for of in studied:
        (directory / f".training-{of.replace(' ', '-')}").unlink(missing_ok=True)
    return rows


def folder_name(place: TrainedPlace) -> str:
    """Return the name of a dictionary's folder, as `m3` or `m3-transcoder`."""
    return f"{place.name}-transcoder" if place.reads_mlp_input else place.name


class _Judge:
    """What measures dictionaries on the same sequences."""

    def __init__(self, held_out: Labelled, tokenizer: PreTrainedTokenizerFast) -> None:
        self.held_out, self.tokenizer = held_out, tokenizer
        self.prompts: Sequence[TokenIds] = held_out.ids.tolist()

    def read(self, model: SubjectModel, place: TrainedPlace) -> Float[Tensor, "token d_in"]:
        """Return what a dictionary reads on all sequences."""
        return read_places(model, batch_of(self.prompts), [place], "content")[place.name][0]

    def row(self, of: str, model: SubjectModel, made: Finished) -> Row:
        """Return what a dictionary is worth."""
        active = made.encode(self.read(model, made.place)) > 0
        return self._row(of, model, made.place, made, active)

    def random_row(self, model: SubjectModel, made: Finished) -> Row:
        """Return what random directions are worth that are active as often as the features."""
        x = self.read(model, made.place)
        control = random_like(x, made.encode(x) > 0, seed=made.plan.seed + 1)
        return self._row("random directions", model, made.place, control, control.encode(x) > 0)

    def _row(
        self, of: str, model: SubjectModel, place: TrainedPlace, coder: Coder, active: Tensor
    ) -> Row:
        quality = measure_quality(model, place, coder, self.prompts[:N_RUN])
        if of == UNTRAINED:
            quality = replace(quality, recovered_from_zeros=None, recovered_from_mean=None)
        found = measure_monosemantic(
            self.held_out, active, lambda token: str(self.tokenizer.convert_ids_to_tokens(token))
        )
        return Row(of, place.name, quality, found)


def card_text(rows: Sequence[Row], seed: int) -> str:
    """Return the card as JSON; of features it names those that stand for one thing."""
    plans = {
        "sae": asdict(replace(SAE, seed=seed)),
        "transcoder": asdict(replace(TRANSCODER, seed=seed)),
    }
    card: dict[str, Any] = {
        "seed": seed,
        "n_sequences": N_SEQUENCES,
        "n_run": N_RUN,
        "stored_as": str(STORED_AS).removeprefix("torch."),
        "plans": plans,
        "rows": [_rounded(asdict(_shortened(row))) for row in rows],
    }
    return json.dumps(card, indent=1) + "\n"


def _shortened(row: Row) -> Row:
    """Return a row without the features that stand for nothing; of controls, without any."""
    found = row.monosemantic
    is_shipped = row.of in ("sae", "transcoder")
    good = tuple(match for match in found.matches if is_shipped and match.f1 >= ENOUGH_F1)
    return replace(row, monosemantic=replace(found, matches=good))


def _rounded(value: Any) -> Any:
    """Return numbers with five digits, inside whatever they are in."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
