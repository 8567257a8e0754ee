"""What `hypothesis` does: finds it, judges it, and shows the verdict."""

from dataclasses import replace

from circuitkit.abstraction.find import find_hypothesis
from circuitkit.abstraction.hypothesis import own_alignment
from circuitkit.abstraction.judge import OPEN, REFUTED, HypothesisResult, VariableResult
from circuitkit.abstraction.judge_hypothesis import Plan, judge_hypothesis
from circuitkit.cli.actions.requests import request_of
from circuitkit.cli.hypothesis import JudgedOn, Places
from circuitkit.cli.loading import EXIT_FAILED, EXIT_NOT_JUDGED
from circuitkit.cli.options import Machine, Shown
from circuitkit.cli.terminal import OUT, bars, show_json, show_table
from circuitkit.errors import HypothesisError
from circuitkit.interventions.sites import site_named
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.subject import subject_of
from circuitkit.work.text import shown as quoted

HEADER = ("variable", "place", "changed", "kept", "other wordings")


def judge(which: str, on: JudgedOn, places: Places, machine: Machine, shown: Shown) -> int:
    """Judge a hypothesis and show what was found; 0 if it stands, 1 if not, 3 if it is open."""
    hypothesis = find_hypothesis(which)
    given = _alignment(places.align or [])
    sites = tuple(name.strip() for name in places.at.split(","))
    for site in sites:
        site_named(site)
    if not on.task and on.prompts is None:
        on = replace(on, task=hypothesis.task)
    subject = subject_of(request_of(on, machine))
    alignment = dict(given)
    if not places.search:
        alignment = {**own_alignment(hypothesis, subject.model.name), **given}
    held_out = subject.held_out.get("wordings")
    plan = Plan(
        places.search,
        sites,
        places.controls,
        places.subspace,
        places.steps,
        None if held_out is None else held_out.pairs,
        on.seed,
    )
    with bars(shown=shown.has_bars) as start:
        result = judge_hypothesis(
            subject.model,
            hypothesis,
            subject.splits,
            alignment=alignment,
            plan=plan,
            progress=start("Variables"),
        )
    if shown.as_json:
        show_json(result.as_dict())
    else:
        _show(result)
    return {REFUTED: EXIT_FAILED, OPEN: EXIT_NOT_JUDGED}.get(result.outcome, 0)


def _alignment(words: list[str]) -> dict[str, str]:
    found = {}
    for word in words:
        variable, equals, place = word.partition("=")
        if not (equals and variable.strip() and place.strip()):
            raise HypothesisError(
                f"--align: must be VARIABLE=PLACE, got {quoted(word)}. It says where a variable "
                "is. Write it as 'subject=post 2 at END'."
            )
        found[variable.strip()] = place.strip()
    return found


def _show(result: HypothesisResult) -> None:
    controls = [control.name for control in result.variables[0].controls]
    title = f"{result.hypothesis} in {result.model}: share of answers as it says"
    rows = [_row(each) for each in result.variables]
    show_table(title, (*HEADER, *controls, "outcome"), rows)
    OUT.print(f"{result.description}\n{result.sentence}", soft_wrap=True)


def _row(found: VariableResult) -> list[str]:
    accuracy = found.accuracy
    controls = [f"{control.weaker:.2f}" for control in found.controls]
    kept = "too few" if accuracy.stays is None else _share(accuracy.stays)
    other = "none" if found.wordings is None else f"{found.wordings.weaker:.2f}"
    own = [found.variable, found.place, _share(accuracy.changes), kept, other]
    return [*own, *controls, found.outcome]


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}] of {estimate.n}"
