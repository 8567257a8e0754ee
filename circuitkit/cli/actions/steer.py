"""What `steer` does: find a direction, add it in doses beside its controls, and show the curves."""

import re
from functools import partial
from pathlib import Path

from circuitkit.cli.actions.requests import model_for, request_of
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
from circuitkit.cli.steer import Direction, Steered
from circuitkit.cli.terminal import bars, show_json
from circuitkit.control.steering.classes import TwoClasses, classes_of_pairs, read_two_classes
from circuitkit.control.steering.effects import (
    Outcome,
    addition,
    dose_response,
    log_odds,
    side_effects,
)
from circuitkit.control.steering.found import (
    RANDOM,
    SHUFFLED,
    difference_of_means,
    feature_direction,
    random_vector,
    shuffled_vector,
)
from circuitkit.control.steering.split import halved
from circuitkit.control.steering.vector import SteeringVector, load_vector
from circuitkit.errors import MethodError
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.hook_points import Point
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.study.subject import subject_of
from circuitkit.zoo import load_dictionary

SITES = {"r": "resid post", "m": "mlp out", "a": "attn out"}
Studied = tuple[SubjectModel, TwoClasses, Outcome]


def show_steering(
    what: Steered,
    direction: Direction,
    machine: Machine,
    shown: Shown,
    written: tuple[Path | None, Path | None],
) -> None:
    """Find or read the direction, and show what each dose of it does."""
    doses = numbers_named(direction.doses, "--doses", float)
    _require_one(what, direction)
    require_places(*written)
    model, training, outcome = _studied(what, machine)
    unrelated = unrelated_of(what.unrelated, model, what.bos)
    vector = _vector(model, training, direction)
    vectors = {
        "direction": vector,
        RANDOM: random_vector(vector, what.seed),
        SHUFFLED: shuffled_vector(model, training, vector, end=-1, seed=what.seed),
    }
    only_last = not direction.everywhere
    with bars(shown=shown.has_bars) as stage:
        progress = stage("Adding in doses")
        progress(0, 1)
        response = dose_response(model, vectors, doses, outcome, only_last=only_last)
        progress(1, 1)
    effects = None
    if unrelated is not None:
        each = (addition(model, vector, dose, only_last=only_last) for dose in doses)
        effects = [side_effects(model, unrelated, hooks) for hooks in each]
    write_steered(vector, response, *written)
    if shown.as_json:
        show_json(facts_of(vector, response, effects))
    else:
        show_response(f"{vector.origin}, norm {vector.norm:.3g}", response, effects)


def _require_one(what: Steered, direction: Direction) -> None:
    given = {"TASK": what.task, "--prompts": what.prompts, "--classes": what.classes}
    named = [name for name, value in given.items() if value]
    if len(named) != 1:
        raise MethodError(
            f"steer: must have one of {', '.join(given)}, got {' and '.join(named) or 'none'}. It "
            "says which two classes are told apart. Give one."
        )
    chosen = [f"--{name}" for name in ("at", "vector", "feature") if getattr(direction, name)]
    if len(chosen) > 1:
        raise MethodError(
            f"steer: must have one of --at, --vector and --feature, got {' and '.join(chosen)}. "
            "Each says which direction is added, and where. Give one."
        )


def _studied(what: Steered, machine: Machine) -> Studied:
    """Return the model, the prompts that make the direction, and what is watched on others."""
    if what.classes is None:
        subject = subject_of(request_of(what, machine))
        pairs = subject.splits.validation
        return (
            subject.model,
            classes_of_pairs(subject.splits.discovery),
            _of_pairs(pairs, subject.metric),
        )
    model = model_for(what, machine)
    prompts = read_two_classes(what.classes, model, bos=what.bos)
    tokens = tokens_named(what.tokens, model, "--tokens")
    training, others = halved(prompts, what.seed)
    name = f"log-odds of {what.tokens!r}, prompts that are false"
    return model, training, Outcome(name, others.of(False), partial(log_odds, tokens))


def _of_pairs(pairs: PromptPairs, metric: Metric) -> Outcome:
    """Return the metric on corrupted prompts, which a direction may make what it is on clean."""
    labels = pairs.labels
    if labels.spelled is not None:
        raise MethodError(
            "steer: answers must be one token at one place, got longer ones. The dose is read off "
            "one place. Use a task with such answers."
        )
    metric.check(labels)
    prompts = classes_of_pairs(pairs).of(False)
    name = f"{metric.name} ({metric.unit}), corrupted prompts"
    return Outcome(name, prompts, lambda x: metric.gain(x, labels), pairs.clusters)


def _vector(model: SubjectModel, prompts: TwoClasses, direction: Direction) -> SteeringVector:
    if direction.vector is not None:
        vector = load_vector(direction.vector)
        vector.require_fits(model)
        return vector
    if direction.feature:
        name, _, number = direction.feature.rpartition("#")
        if not name or not number.isdecimal():
            raise MethodError(
                f"--feature: must be a dictionary and a number, got {direction.feature!r}. It "
                "names the feature that is added. Write pico:m3#5, say."
            )
        return feature_direction(model, load_dictionary(name), int(number))
    return difference_of_means(model, prompts, place_named(direction.at, model))


def place_named(name: str, model: SubjectModel) -> Point:
    """Return the place of a name as r3; without one, the stream behind the middle layer.

    Raises:
        MethodError: it is none.
    """
    n_layers = model.graph.n_layers
    found = re.fullmatch(r"([rma])([0-9]{1,4})", name or f"r{(n_layers - 1) // 2}")
    if found is None or int(found[2]) >= n_layers:
        raise MethodError(
            f"--at: must be r, m or a and a layer from 0 to {n_layers - 1}, got {name!r}. It is "
            f"where the direction is read and added. Write r{n_layers - 1}, say."
        )
    return Point(SITES[found[1]], int(found[2]))
