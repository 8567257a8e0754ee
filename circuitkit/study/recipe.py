"""From settings to the recipe of a circuit, and from a recipe back to settings and a request."""

from dataclasses import asdict, replace
from pathlib import Path

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.recipe import PairsRecipe, Recipe, Selection
from circuitkit.discovery.methods import method_named
from circuitkit.errors import CircuitFileError
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.tokenization import tokenizer_digest
from circuitkit.study.settings import Settings, installed_versions, method_of
from circuitkit.study.subject import Request, Subject
from circuitkit.task import names_a_file
from circuitkit.work.text import shown


def recipe_of(subject: Subject, settings: Settings, *, n_selected: int) -> Recipe:
    """Return how the settings find a circuit on the subject's discovery pairs.

    `n_selected` counts edges before dead ends, and those that are not needed, were removed.
    """
    method = method_of(settings)
    return Recipe(
        method=method.name,
        method_settings=asdict(method),  # type: ignore[call-overload]
        selection=Selection(
            rule=settings.selection,
            n_edges=settings.n_edges,
            threshold=settings.threshold,
            signed=settings.ranks_signed,
            minimal=settings.minimal,
            n_selected=n_selected,
        ),
        scoring_ablation=settings.scoring_ablation,
        ablation=settings.ablation,
        columns=settings.columns,
        seed=settings.seed,
        dtype=str(subject.model.dtype).removeprefix("torch."),
        pairs=pairs_recipe_of(subject),
        units=subject.request.units,
    )


def pairs_recipe_of(subject: Subject) -> PairsRecipe:
    """Return how the discovery pairs of a subject are drawn or read again."""
    asked, discovery = subject.request, subject.splits.discovery
    validation = subject.splits.validation
    prompts = "" if asked.prompts is None else str(asked.prompts)
    return PairsRecipe(
        task="" if prompts else asked.task or subject.task,
        prompts=prompts,
        whole_file=bool(prompts) and asked.discovery_only,
        n=_n_drawn(discovery),
        n_validation=_n_drawn(validation),
        seed=subject.seed,
        metric=subject.metric.name,
        bos=asked.bos,
        digest=discovery.digest,
        align=discovery.align,
        task_digest="" if subject.source is None else subject.source.source_digest,
        prompt_format=asked.prompt_format,
    )


def _n_drawn(pairs: PromptPairs) -> int:
    """Return how many pairs were drawn, those that were left out included."""
    return len(pairs) + pairs.n_dropped + pairs.n_repeats


def with_provenance(
    circuit: Circuit, subject: Subject, settings: Settings, *, n_selected: int
) -> Circuit:
    """Return the circuit with where it comes from and the recipe to find it again."""
    origin = Provenance(
        task=subject.task,
        model=subject.model.name,
        model_digest=subject.model.digest,
        recipe=recipe_of(subject, settings, n_selected=n_selected),
        tokenizer_digest=tokenizer_digest(subject.model.tokenizer),
        versions=installed_versions(),
        discovery_prompts=subject.splits.discovery.prompt_digests,
    )
    return replace(circuit, provenance=origin)


def settings_of(recipe: Recipe, settings: Settings) -> Settings:
    """Return the settings by which a recipe finds its circuit; the rest as in `settings`.

    Raises:
        MethodError: its method is not known here, or has no such settings.
    """
    method_named(recipe.method, recipe.method_settings)
    return replace(
        settings,
        seed=recipe.seed,
        method=recipe.method,
        method_settings=recipe.method_settings,
        scoring_ablation=recipe.scoring_ablation,
        ablation=recipe.ablation,
        columns=recipe.columns,
        selection=recipe.selection.rule,
        signed=recipe.selection.signed,
        threshold=recipe.selection.threshold,
        minimal=recipe.selection.minimal,
        n_edges=recipe.selection.n_edges,
    )


def request_of(recipe: Recipe, model: str) -> Request:
    """Return the request that draws the pairs of a recipe again, in a model.

    A task that is a file of Python is run only if it is unchanged: see `require_no_code`.
    """
    pairs = recipe.pairs
    return Request(
        task=pairs.task,
        prompts=Path(pairs.prompts) if pairs.prompts else None,
        metric=pairs.metric,
        model=model,
        n=pairs.n,
        seed=pairs.seed,
        dtype=recipe.dtype,
        n_validation=pairs.n_validation or None,
        discovery_only=pairs.whole_file,
        bos=pairs.bos,
        task_digest=pairs.task_digest,
        prompt_format=pairs.prompt_format,
        units=recipe.units,
    )


def require_no_code(pairs: PairsRecipe, where: str, *, allowed: bool = False) -> None:
    """Refuse a task that a circuit or run file names and that would run a file of Python.

    `allowed`: such a file may be run if its digest was recorded; `find_task` compares it.

    Raises:
        CircuitFileError: it would be run all the same.
    """
    if not names_a_file(pairs.task) or (allowed and pairs.task_digest):
        return
    remedy = (
        "give it yourself with --task, or add --allow-task-code, which runs it only if it is still "
        "the one that was recorded. Modules that it imports are run unseen: no digest covers them."
        if pairs.task_digest
        else "give it yourself with --task. No digest of it was recorded, so --allow-task-code "
        "cannot tell whether it has changed."
    )
    raise CircuitFileError(
        f"{where}: its task must be one that is installed, got the file {shown(pairs.task)}. A "
        "circuit file may come from anyone, and naming a file must not run it. If you trust that "
        f"file, {remedy}"
    )
