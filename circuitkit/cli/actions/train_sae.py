"""What `train-sae` does: train dictionaries, try them on prompts held out, and write them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from circuitkit.cli.actions.requests import model_for, request_of
from circuitkit.cli.options import Machine, Shown
from circuitkit.cli.terminal import NOTES, OUT, bars, show_json, show_table
from circuitkit.cli.train_sae import Dictionary, TrainedOn
from circuitkit.dictionaries.training.finished import Finished, save_finished
from circuitkit.dictionaries.training.places import places_named
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.prompts import (
    PromptSource,
    prompts_of_pairs,
    prompts_of_texts,
)
from circuitkit.dictionaries.training.quality import Quality, measure_quality
from circuitkit.dictionaries.training.train import Training, train
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.study.subject import subject_of
from circuitkit.work.files import require_writable_directory
from circuitkit.work.progress import Progress
from circuitkit.zoo.pico.train_dictionaries import pico_prompts

KEPT = ".training"  # what was done, until all is
FEATURES_FOR_EACH = 4  # dimension, where no number is given
LONGEST = 128  # tokens of a line of text
MAX_HELD_OUT = 400  # prompts that dictionaries are tried on
PICO = "pico"


def train_dictionaries(
    what: TrainedOn, dictionary: Dictionary, machine: Machine, shown: Shown, output: Path
) -> None:
    """Train a dictionary of each place, write all, and show what they are worth."""
    _require_one_source(what)
    _plan(dictionary, what.seed, dictionary.features or max(1, dictionary.k))  # refused at once
    require_writable_directory(output)
    model, prompts = _studied(what, machine)
    plan = _plan(
        dictionary, what.seed, dictionary.features or FEATURES_FOR_EACH * model.graph.d_model
    )
    places = places_named(dictionary.at, model, reads_mlp_input=plan.reads_mlp_input)
    kept = output / KEPT
    if shown.has_bars:
        note = f"What is done is kept in {kept}; the same command resumes it."
        NOTES.print(note, soft_wrap=True)
    with bars(shown=shown.has_bars) as stage:
        training = Training(model, places, plan, prompts)
        made = train(training, checkpoint=kept, progress=stage(f"Training: {plan.kind}"))
        found = _tried(training, made, stage("Trying on held-out"))
    for one in made:
        save_finished(one, output / one.place.name, model.name, stored_as=torch.float32)
    kept.unlink(missing_ok=True)
    _show(found, output, as_json=shown.as_json)


def _tried(training: Training, made: Sequence[Finished], progress: Progress) -> dict[str, Quality]:
    """Return what each dictionary is worth on prompts held out, by place."""
    held_out = training.prompts.held_out()[:MAX_HELD_OUT]
    found, positions = {}, training.plan.positions
    for number, one in enumerate(made):
        progress(number, len(made))
        found[one.place.name] = measure_quality(training.model, one.place, one, held_out, positions)
    progress(len(made), len(made))
    return found


def _plan(dictionary: Dictionary, seed: int, n_features: int) -> Plan:
    return Plan(
        kind=dictionary.kind,
        n_features=n_features,
        k=dictionary.k,
        steps=dictionary.steps,
        prompts_per_step=dictionary.prompts_per_step,
        learning_rate=dictionary.learning_rate,
        positions=dictionary.positions,
        seed=seed,
    )


def _require_one_source(what: TrainedOn) -> None:
    given = {"--task": what.task, "--prompts": what.prompts, "--texts": what.texts}
    named = [option for option, value in given.items() if value]
    if len(named) > 1 or (not named and what.model != PICO):
        raise MethodError(
            f"train-sae: must have one of {', '.join(given)}, got {' and '.join(named) or 'none'}. "
            "It says which prompts are trained on; pico alone has a language of its own. Give one."
        )


def _studied(what: TrainedOn, machine: Machine) -> tuple[SubjectModel, PromptSource]:
    """Return the model, and what it is to read."""
    if what.task or what.prompts is not None:
        subject = subject_of(request_of(what, machine))
        splits = subject.splits
        source = prompts_of_pairs(
            [splits.discovery, splits.reference],
            splits.validation,
            f"{subject.task}, n {what.n}, seed {what.seed}",
            seed=what.seed,
        )
        return subject.model, source
    model = model_for(what, machine)
    if what.texts is None:
        return model, pico_prompts(what.seed)
    if model.tokenizer is None:
        raise MethodError(
            f"--texts: the model must have a tokenizer, got {model.name!r} without one. Text "
            "cannot be made tokens. Give --prompts with token ids."
        )
    longest = min(LONGEST, model.n_ctx)
    texts = prompts_of_texts(
        what.texts, model.tokenizer, longest=longest, bos=what.bos, seed=what.seed
    )
    return model, texts


def _show(found: dict[str, Quality], output: Path, *, as_json: bool) -> None:
    if as_json:
        show_json({place: asdict(quality) for place, quality in found.items()})
        return
    rows = [
        (
            place,
            f"{quality.l0:.1f}",
            str(quality.explained_variance),
            str(quality.recovered_from_zeros or "-"),
            str(quality.recovered_from_mean or "-"),
            f"{quality.dead_share:.1%}",
        )
        for place, quality in found.items()
    ]
    header = ("place", "L0", "explained variance", "from zeros", "from the mean", "dead")
    show_table("On prompts held out, with the loss recovered", header, rows)
    OUT.print(f"Written to {output}, a folder for each place.", soft_wrap=True)
