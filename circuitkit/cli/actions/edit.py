"""What `edit` does: edit a fact, ask what else changed, show and write it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from circuitkit.cli.actions.requests import model_for
from circuitkit.cli.edit import EditedFact, HowEdited
from circuitkit.cli.options import Machine, Shown
from circuitkit.cli.terminal import OUT, bars, show_json, show_table
from circuitkit.cli.values import typed_command
from circuitkit.control.editing.facts import read_facts
from circuitkit.control.editing.measures import unedited
from circuitkit.control.editing.methods import Recipe, layers_changed, require_method
from circuitkit.control.editing.questions import Questions, drawn_facts, questions_for
from circuitkit.control.editing.second_moment import kept_second_moments, require_tokens
from circuitkit.control.editing.sweep import (
    ALL,
    TRACED,
    AtLayer,
    Traced,
    correlation_with_tracing,
    edit_layers,
    layers_named,
    traced_layers,
)
from circuitkit.dictionaries.training.prompts import PromptSource, prompts_of_texts
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.model.changed import save_model
from circuitkit.task import find_task
from circuitkit.work.files import require_writable_directory, write_whole
from circuitkit.zoo.pico.train_dictionaries import pico_prompts

PICO = "pico"
LONGEST = 128  # tokens of a line of text
FILE = "edits.json"
SCHEMA = 1
COLUMNS = ("efficacy", "paraphrase", "neighbourhood", "same subject")
MORE = ("fluency change", "KL on unrelated text")


@dataclass(frozen=True)
class Made:
    """The edits of a fact, layer by layer, and where tracing finds it (None: not asked)."""

    model: SubjectModel
    questions: Questions
    recipe: Recipe
    traced: Traced | None
    layers: tuple[AtLayer, ...]

    @property
    def chosen(self) -> AtLayer | None:
        """The edit that is saved: the only one, or that of the layer where tracing peaks."""
        if len(self.layers) == 1:
            return self.layers[0]
        return next((e for e in self.layers if self.traced and e.layer == self.traced.peak), None)


def edit_and_measure(
    what: EditedFact,
    how: HowEdited,
    machine: Machine,
    shown: Shown,
    output: Path | None,
    save: Path | None,
) -> None:
    """Edit a fact in the layers that are asked for, and show what each edit changed."""
    _require_sense(what, how, save)
    for directory in (output, how.statistics, save):
        if directory is not None:
            require_writable_directory(directory)
    task = find_task(what.task)
    questions = questions_for(
        drawn_facts(task, what.subject, seed=what.seed),
        what.fact,
        what.target,
        role=what.subject,
        seed=what.seed,
    )
    model = model_for(what, machine)
    layers = layers_named(how.layer, model)
    read_facts([questions.fact], model.tokenizer)  # refused before the long work
    made = _made(model, questions, layers, what, how, shown)
    found = _data(made)
    if output is not None:
        write_whole(output / FILE, json.dumps(found, indent=1) + "\n")
    _show(made, found, shown, output)
    if save is not None:
        _save(made, save)


def _require_sense(what: EditedFact, how: HowEdited, save: Path | None) -> None:
    require_method(how.method)
    require_tokens(how.n_tokens)
    if how.texts is None and what.model != PICO:
        raise MethodError(
            f"edit: a model other than {PICO} must come with --texts, got {what.model!r} alone. "
            "How its keys are spread is measured on text. Give a file with a text on each line."
        )
    if save is not None and how.layer == ALL:
        raise MethodError(
            f"--save: must be the edit of one layer, got --layer {ALL}. A model holds one of "
            f"them. Give --layer {TRACED}, or the layer's number."
        )


def _texts(model: SubjectModel, what: EditedFact, how: HowEdited) -> PromptSource:
    if how.texts is None:
        return pico_prompts(what.seed)
    if model.tokenizer is None:
        raise MethodError(
            f"--texts: the model must have a tokenizer, got {model.name!r} without one. Text "
            "cannot be made tokens. Use a model with one."
        )
    longest = min(LONGEST, model.n_ctx)
    return prompts_of_texts(how.texts, model.tokenizer, longest=longest, bos="auto", seed=what.seed)


def _made(
    model: SubjectModel,
    questions: Questions,
    layers: Sequence[int],
    what: EditedFact,
    how: HowEdited,
    shown: Shown,
) -> Made:
    texts, recipe = _texts(model, what, how), Recipe(how.method, seed=what.seed)
    needed = sorted({n for layer in layers for n in layers_changed(recipe.method, layer)})
    with bars(shown=shown.has_bars) as stage:
        traced = None
        if how.layer in (TRACED, ALL):
            traced = traced_layers(model, questions, what.subject, seed=what.seed)
        moments = kept_second_moments(
            model,
            needed,
            texts,
            how.statistics,
            n_tokens=how.n_tokens,
            progress=stage("Reading text"),
        )
        base = unedited(model, questions, texts.held_out(), seed=what.seed)
        made = edit_layers(base, layers, moments, recipe, progress=stage("Editing"))
    return Made(model, questions, recipe, traced, made)


def _save(made: Made, directory: Path) -> None:
    chosen = made.chosen
    if chosen is None or chosen.edit is None:
        why = "no layer" if chosen is None else chosen.refused
        raise MethodError(
            f"--save: the traced layer must have an edit, got {why}. There is nothing to save. "
            "Name a layer with --layer N."
        )
    save_model(chosen.edit.made(made.model), directory)


def _data(made: Made) -> dict[str, Any]:
    """Return all that was found, as edits.json has it."""
    fact, traced = made.questions.fact, made.traced
    correlation = (
        None if traced is None else correlation_with_tracing(traced, made.layers, "paraphrase")
    )
    return {
        "schema": SCHEMA,
        "command": typed_command(),
        "model": {"name": made.model.name, "digest": made.model.digest},
        "fact": asdict(fact),
        "method": made.recipe.method,
        "seed": made.recipe.seed,
        "descent": made.recipe.descent and asdict(made.recipe.descent),
        "asked": {
            "paraphrases": len(made.questions.paraphrases),
            "neighbours": len(made.questions.neighbours),
            "others": len(made.questions.others),
        },
        "tracing": traced and {"peak": traced.peak, "total": traced.total},
        "tracing_and_paraphrase_rank_correlation": correlation,
        "layers": [_layer(each, traced) for each in made.layers],
    }


def _layer(each: AtLayer, traced: Traced | None) -> dict[str, Any]:
    return {
        "layer": each.layer,
        "traced": None if traced is None else traced.effects[each.layer],
        "refused": each.refused,
        "growth": {} if each.edit is None else dict(each.edit.growth),
        "losses": [] if each.edit is None else list(each.edit.losses),
        "measures": {name: asdict(measure) for name, measure in each.measures.items()},
    }


def _show(made: Made, found: dict[str, Any], shown: Shown, output: Path | None) -> None:
    if shown.as_json:
        show_json(found)
        return
    fact = made.questions.fact
    title = f"{fact.prompt!r}: {fact.true!r} becomes {fact.target!r}, by {made.recipe.method}"
    show_table(title, ("layer", "traced", *COLUMNS, *MORE), [_row(e, made) for e in made.layers])
    for each in made.layers:
        if each.refused:
            OUT.print(f"Layer {each.layer} was not edited: {each.refused}", markup=False)
    if made.traced is not None:
        OUT.print(_says(made, found), markup=False)
    if output is not None:
        OUT.print(str(output / FILE), soft_wrap=True, markup=False)


def _row(each: AtLayer, made: Made) -> tuple[str, ...]:
    traced, measures = made.traced, each.measures
    effect = "-"
    if traced is not None:
        effect = f"{traced.effects[each.layer]:.3g}" + (" *" if traced.peak == each.layer else "")
    cells = (str(measures[name]) if name in measures else "-" for name in (*COLUMNS, *MORE))
    return str(each.layer), effect, *cells


def _says(made: Made, found: dict[str, Any]) -> str:
    """Say where tracing peaks, and whether it goes with where edits work."""
    assert made.traced is not None
    share = made.traced.effects[made.traced.peak] / made.traced.total if made.traced.total else 0.0
    correlation = found["tracing_and_paraphrase_rank_correlation"]
    both = "is not known" if correlation is None else f"is {correlation:.2f}"
    return (
        f"* tracing peaks in layer {made.traced.peak}, which gives back {share:.0%} of what "
        f"blurring the subject costs. Its rank correlation with paraphrase over layers {both}."
    )
