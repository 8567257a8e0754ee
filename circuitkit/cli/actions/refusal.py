"""What `refusal` does: select the direction, and show what it does on prompts held out."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cattrs

from circuitkit.cli.actions.requests import model_for
from circuitkit.cli.actions.steered import (
    facts_of,
    numbers_named,
    require_places,
    show_response,
    tokens_named,
    unrelated_of,
    write_steered,
)
from circuitkit.cli.options import Machine, Shown
from circuitkit.cli.refusal import Candidates, Refusals
from circuitkit.cli.terminal import OUT, bars, show_json, show_table
from circuitkit.control.steering.classes import TwoClasses, logits_of, read_prompts, two_classes
from circuitkit.control.steering.effects import (
    DoseResponse,
    Outcome,
    SideEffects,
    dose_response,
    is_changed,
    log_odds,
    side_effects,
)
from circuitkit.control.steering.found import RANDOM, SHUFFLED, random_vector, shuffled_vector
from circuitkit.control.steering.refusal import Refusing, Selection, select_refusal
from circuitkit.control.steering.split import parted
from circuitkit.control.steering.uses import ablated, added
from circuitkit.control.steering.vector import SteeringVector
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.shares import share_of
from circuitkit.work.progress import Progress
from circuitkit.zoo.planted import refusal as planted

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
SHARES = (0.5, 0.25, 0.25)  # of prompts, for training, validation and the rest


@dataclass(frozen=True)
class Effects:
    """What one direction does on held-out prompts."""

    answered: Estimate  # share of harmful prompts, under ablation
    changed: Estimate  # share of harmless prompts whose likeliest token is another, under ablation
    refused: Estimate  # share of harmless prompts, under addition


@dataclass(frozen=True)
class Found:
    """The direction that was selected, and what it and its controls do."""

    selection: Selection
    effects: dict[str, Effects]
    response: DoseResponse
    side: SideEffects | None


def show_refusal(
    what: Refusals,
    candidates: Candidates,
    machine: Machine,
    shown: Shown,
    written: tuple[Path | None, Path | None],
) -> None:
    """Select, measure, write and show."""
    layers = numbers_named(candidates.layers, "--layers", int)
    _require_prompts(what, candidates.ends)
    require_places(*written)
    model = model_for(what, machine)
    said = what.tokens or (planted.REFUSAL if _is_planted(what) else "")
    tokens = tokens_named(said, model, "--tokens")
    refusing = Refusing(tokens, candidates.ends, layers, candidates.max_kl)
    with bars(shown=shown.has_bars) as stage:
        found = _found(what, model, refusing, stage("Trying candidates"))
    write_steered(found.selection.vector, found.response, *written)
    if shown.as_json:
        show_json(_facts(found))
    else:
        _show(found)


def _found(what: Refusals, model: SubjectModel, refusing: Refusing, progress: Progress) -> Found:
    training, validation, others = parted(_prompts(what, model), SHARES, what.seed)
    unrelated = _unrelated(what, model)
    selection = select_refusal(model, training, validation, refusing, progress=progress)
    vectors = _vectors(model, training, selection, what.seed)
    outcome = Outcome(
        "refusal score (log-odds), harmless prompts",
        others.of(False),
        partial(log_odds, refusing.tokens),
    )
    without = ablated(model, selection.vector)
    return Found(
        selection,
        {name: _effects(model, each, others, refusing) for name, each in vectors.items()},
        dose_response(model, vectors, DOSES, outcome),
        None if unrelated is None else side_effects(model, unrelated, without),
    )


def _facts(found: Found) -> dict[str, Any]:
    selection = found.selection
    return {
        **facts_of(selection.vector, found.response, None),
        "candidates": [asdict(each) for each in selection.candidates],
        "end": selection.end,
        "n_dropped": selection.n_dropped,
        "held_out": cattrs.unstructure(found.effects),
        "side_effects": found.side and cattrs.unstructure(found.side),
    }


def _is_planted(what: Refusals) -> bool:
    return what.model.partition(":")[0] == planted.NAME


def _require_prompts(what: Refusals, ends: int) -> None:
    given = [name for name in ("harmful", "harmless") if getattr(what, name) is not None]
    wanted = (0,) if _is_planted(what) else (2,)
    if len(given) not in wanted:
        rule = "none of" if _is_planted(what) else "both"
        raise MethodError(
            f"refusal: must have {rule} --harmful and --harmless for {what.model!r}, got "
            f"{' and '.join(given) or 'none'}. A direction is the difference of the two; a planted "
            "model draws its own. Give them so."
        )
    if ends < 1:
        raise MethodError(
            f"--ends: must be at least 1, got {ends}. So many last tokens are candidates. Write 1."
        )


def _prompts(what: Refusals, model: SubjectModel) -> TwoClasses:
    if what.harmful is not None and what.harmless is not None:
        files = read_prompts(what.harmful), read_prompts(what.harmless)
        return two_classes(*files, model, bos=what.bos)
    drawn = planted.requests(what.n, what.seed)
    true, false = ([each.text for each in drawn if each.is_harmful is y] for y in (True, False))
    return two_classes(true, false, model, bos=what.bos)


def _unrelated(what: Refusals, model: SubjectModel) -> TwoClasses | None:
    if what.unrelated is None and _is_planted(what):
        return two_classes(planted.unrelated_prompts(64, what.seed), [], model, bos=what.bos)
    return unrelated_of(what.unrelated, model, what.bos)


def _vectors(
    model: SubjectModel, training: TwoClasses, selection: Selection, seed: int
) -> dict[str, SteeringVector]:
    vector = selection.vector
    shuffled = shuffled_vector(model, training, vector, end=selection.end, seed=seed)
    return {"selected": vector, RANDOM: random_vector(vector, seed), SHUFFLED: shuffled}


def _effects(
    model: SubjectModel, vector: SteeringVector, others: TwoClasses, refusing: Refusing
) -> Effects:
    without, harmless = ablated(model, vector), others.of(False)
    answered = refusing.scores(model, others.of(True), without) < 0
    changed = is_changed(logits_of(model, harmless), logits_of(model, harmless, without))
    refused = refusing.scores(model, harmless, added(model, vector, 1.0)) > 0
    return Effects(*(share_of(each.double().numpy()) for each in (answered, changed, refused)))


def _show(found: Found) -> None:
    selection, effects, side = found.selection, found.effects, found.side
    chosen = selection.chosen
    rows = [
        (
            f"{each.layer}",
            f"{each.end}",
            f"{each.bypass:.2f}",
            f"{each.induce:.2f}",
            f"{each.kl:.4f}",
            "chosen" if each is chosen else each.out,
        )
        for each in selection.candidates
    ]
    header = ("layer", "token", "bypass", "induce", "KL (nats)", "")
    show_table("Candidates, on validation prompts", header, rows)
    shares = [
        (name, str(each.answered), str(each.changed), str(each.refused))
        for name, each in effects.items()
    ]
    title = ("direction", "harmful, ablated: answered", "harmless, ablated: changed",
             "harmless, added: refused")  # fmt: skip
    show_table("On prompts held out", title, shares)
    if side is not None:
        OUT.print(f"Unrelated prompts, ablated: KL {side.kl} nats, changed {side.changed}.")
    show_response("Added at every position", found.response, None)
