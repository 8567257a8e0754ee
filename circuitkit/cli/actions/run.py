"""What `run` does: find a circuit, judge it, and write its report."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import cattrs

from circuitkit.cli.actions.costs import show_plan
from circuitkit.cli.actions.discover import (
    announce,
    checkpoint_beside,
    forget_checkpoint,
    with_checkpoint,
)
from circuitkit.cli.actions.requests import (
    announce_drawing,
    announce_pairs,
    request_of,
    search_settings,
    units_of,
)
from circuitkit.cli.actions.shown import show_baseline, show_verdict
from circuitkit.cli.options import BatchedMachine, Plannable, RunPlace, What
from circuitkit.cli.rules import SearchOrAuto
from circuitkit.cli.terminal import OUT, bars, show_json
from circuitkit.cli.values import parse_seconds, run_name
from circuitkit.errors import MethodError, TaskError
from circuitkit.reporting.content import verdict_sentences
from circuitkit.reporting.run_log import RunLog
from circuitkit.reporting.run_log import logged as logged
from circuitkit.reporting.story.sentence import story_of
from circuitkit.reporting.write import save_run
from circuitkit.study.next_steps import next_steps
from circuitkit.study.pipeline import study
from circuitkit.study.recipe import request_of as request_of_recipe
from circuitkit.study.recipe import require_no_code, settings_of
from circuitkit.study.records import RunRecord, load_run
from circuitkit.study.run_place import identity_of, place_of_run
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.work.directories import require_replaceable
from circuitkit.work.text import shown as shown_text

MORE_TO_JUDGE = 2  # times the discovery pairs


@dataclass(frozen=True)
class RunAsked:
    """What `run` was asked beside its groups of options."""

    where: RunPlace = RunPlace()
    explained: bool = False  # also say what each component does
    allow_task_code: bool = False  # run the unchanged file of Python that a run.toml names
    log: RunLog = field(default_factory=RunLog)  # that is told the run


def find_and_judge(
    what: What, search: SearchOrAuto, machine: BatchedMachine, shown: Plannable, asked: RunAsked
) -> None:
    """Find a circuit, judge it on held-out prompts, write a report, and show the verdict."""
    budget = parse_seconds(search.budget)
    settings = search_settings(search, what.seed, machine, budget=budget)
    request = request_of(what, machine, units=units_of(search))
    if what.task.endswith(".toml"):
        request, settings = _repeated(asked, Path(what.task), request, settings)
    _require_whole(request, asked)
    where = asked.where
    name = run_name(request.task, request.prompts, request.model, settings.method)
    directory = where.output or Path("reports") / (where.name or name)
    require_replaceable(directory)
    if not settings.is_automatic:
        settings = with_checkpoint(settings, None, checkpoint_beside(directory, request, settings))
    announce_drawing(request.n, shown=shown.has_bars)
    subject = _drawn(request, settings)
    if shown.plan:
        show_plan(subject, settings, subject.splits.discovery, shown)
        return
    announce_pairs(subject, settings)
    identity = identity_of(subject, settings)
    is_asked = bool(where.output or where.name)
    directory = place_of_run(directory, identity, asked=is_asked, force=where.force)
    if not settings.is_automatic:
        announce(subject, settings, shown=shown.has_bars)
    asked.log.begin(directory.name, request, settings)
    with bars(shown=shown.has_bars) as stage:
        record = study(subject, settings, stage, explained=asked.explained)
    record = replace(record, info=replace(record.info, identity=identity))
    save_run(record, directory, ("html", "md", "svg"))
    asked.log.tell(record, directory)
    forget_checkpoint(settings, None)
    if shown.as_json:
        verdict = cattrs.unstructure(record.validation.verdict)
        show_json({"directory": str(directory), "verdict": verdict})
    else:
        _show(record, subject, directory, shown)


def _require_whole(request: Request, asked: RunAsked) -> None:
    if asked.explained and request.units.kind:
        raise MethodError(
            f"--explain: must come without --units, got --units {request.units.kind}. Roles are "
            "known of heads and whole MLPs alone. Leave one of them out."
        )


def _drawn(request: Request, settings: Settings) -> Subject:
    """Return what is studied; where all is chosen, on more pairs to judge by, if there are any.

    Small circuits have effects to show edge by edge, which takes more pairs than finding them.
    """
    if settings.is_automatic and request.prompts is None and request.n_validation is None:
        more = replace(request, n_validation=MORE_TO_JUDGE * request.n)
        with suppress(TaskError):  # the task has too few
            return subject_of(more)
    return subject_of(request)


def _repeated(
    asked: RunAsked, path: Path, request: Request, settings: Settings
) -> tuple[Request, Settings]:
    """Return the request and the settings of a run.toml, on the machine that was asked for.

    Raises:
        CircuitFileError: it has no whole recipe, or its task is a file of Python.
    """
    info = load_run(path)
    where = f"run file {shown_text(str(path))}"
    require_no_code(info.recipe.pairs, where, allowed=asked.allow_task_code)
    said = request_of_recipe(info.recipe, info.model)
    repeated = replace(
        said,
        device=request.device,
        command=request.command,
        trust_remote_code=request.trust_remote_code,
    )
    return repeated, settings_of(info.recipe, settings)


def _show(record: RunRecord, subject: Subject, directory: Path, shown: Plannable) -> None:
    for sentence in (*record.info.choices, story_of(record).sentence):
        OUT.print(sentence, soft_wrap=True)
    show_baseline(record.validation.baseline, subject.task, subject.model.name)
    show_verdict(record.validation.verdict, verbose=shown.verbose)
    for reason in verdict_sentences(record)[1:]:
        OUT.print(reason, soft_wrap=True)
    for step in next_steps(record):
        OUT.print(f"Next: {step.says}", soft_wrap=True)
        if step.command:
            OUT.print(f"  {step.command}", soft_wrap=True)
    OUT.print(f"Report: {str(directory / 'report.html')}", soft_wrap=True)
