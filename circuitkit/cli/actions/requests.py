"""What options stand for: a request, settings, and the subject of a circuit file."""

from pathlib import Path
from typing import Any

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.recipe import UnitsRecipe
from circuitkit.cli.dictionary import TriedOn
from circuitkit.cli.options import (
    AnyModel,
    BatchedMachine,
    CircuitGround,
    Ground,
    Machine,
    OneModel,
    SharedMachine,
    What,
)
from circuitkit.cli.rules import Search, SearchOrAll
from circuitkit.cli.terminal import NOTES
from circuitkit.cli.values import typed_command
from circuitkit.discovery.at_columns import require_columns
from circuitkit.discovery.methods import METHODS, method_named
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import require_ablation
from circuitkit.model import SubjectModel
from circuitkit.model.source import PARTS, source_of
from circuitkit.names import AUTO
from circuitkit.study.pair_needs import shortfalls
from circuitkit.study.request import Overrides, subject_of_circuit
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, Subject
from circuitkit.study.units import require_kind
from circuitkit.work.executors.asked import asked_workers
from circuitkit.work.executors.on_ray import require_reachable
from circuitkit.zoo import load_model

MANY = 5_000  # pairs that are not drawn at once
SECONDS_A_PAIR = 0.008  # drawn, with its reference pairs, tokenised and checked, on one core


def request_of(what: What | TriedOn, machine: Machine, **more: Any) -> Request:
    """Return the request of these options, with what was typed."""
    return Request(
        task=what.task,
        prompts=what.prompts,
        metric=what.metric,
        model=model_of(what),
        n=what.n,
        seed=what.seed,
        device=machine.device,
        dtype=machine.dtype,
        bos=what.bos,
        trust_remote_code=machine.trust_remote_code,
        prompt_format=what.prompt_format,
        command=typed_command(),
        **more,
    )


def units_of(search: Search) -> UnitsRecipe:
    """Return what MLPs are to be taken apart into.

    Raises:
        MethodError: units that are none.
    """
    n = search.n_units if search.units else 0
    asked = UnitsRecipe(search.units, n, search.dictionaries)
    require_kind(asked)
    return asked


def model_of(what: What | TriedOn | Ground | AnyModel | OneModel) -> str:
    """Return which model is meant, as one line of text that loads it again.

    Raises:
        MethodError: a part of a model that is not named.
        ModelError: the line is none.
    """
    parts = {part: getattr(what, part) for part in PARTS if getattr(what, part)}
    if parts and not what.model:
        raise MethodError(
            f"--{next(iter(parts))}: must be given with --model, got none. It says which weights "
            "of a model are meant. Name the model too."
        )
    return str(source_of(what.model).with_parts(**parts)) if parts else what.model


def model_for(what: TriedOn | AnyModel | OneModel | What, machine: Machine) -> SubjectModel:
    """Return the model that options name, where the machine's options say.

    Raises:
        ModelError: it cannot be loaded.
    """
    return model_named(model_of(what), machine)


def model_named(name: str, machine: Machine, dtype: str = "") -> SubjectModel:
    """Return a model of a name, where the machine's options say; `dtype`: another than theirs.

    Raises:
        ModelError: it cannot be loaded.
    """
    return load_model(
        name,
        device=machine.device,
        dtype=dtype or machine.dtype,
        trust_remote_code=machine.trust_remote_code,
    )


def announce_drawing(n: int, *, shown: bool) -> None:
    """Say before many pairs are drawn about how long that takes."""
    if shown and n >= MANY:
        minutes = max(1, round(n * SECONDS_A_PAIR / 60))
        NOTES.print(f"Drawing {n} pairs for each split takes about {minutes} min.", soft_wrap=True)


def announce_pairs(subject: Subject, settings: Settings) -> None:
    """Say before any work what cannot be had with so few pairs, and how to get more."""
    said = shortfalls(subject.splits, settings)
    if said:
        remedy = (
            "Raise --n."
            if subject.source is not None
            else 'Add prompts to the file; half of the lines that name no "split" judge.'
        )
        NOTES.print(" ".join(("Note:", *said, remedy)), soft_wrap=True)


def search_settings(search: Search, seed: int, machine: BatchedMachine, **more: Any) -> Settings:
    """Return how to search.

    Raises:
        MethodError: an unknown method, setting of it, or ablation.
    """
    method = more.pop("method", search.method)
    is_automatic = method == AUTO
    if not is_automatic:
        require_columns(method_named(method, search.method_settings), search.edges_at)
    scoring_ablation = search.scoring_ablation or (
        search.ablation if is_automatic else Settings.scoring_ablation
    )
    return Settings(
        seed=seed,
        method=method,
        method_settings=search.method_settings,
        n_edges=search.edges,
        ablation=require_ablation(search.ablation),
        scoring_ablation=require_ablation(scoring_ablation, "--scoring-ablation"),
        signed=search.signed,
        minimal=is_automatic and not search.edges_at if search.minimal is None else search.minimal,
        columns=search.edges_at,
        memory=machine.budget,
        batch_size=machine.rows,
        anyway=search.anyway,
        workers=_workers(method, search, machine),
        **more,
    )


def _workers(method: str, search: Search, machine: BatchedMachine) -> str:
    """Return which workers share the search.

    Raises:
        WorkerError: no such workers, or nobody who answers.
        DependencyError: Ray is not installed.
        MethodError: nothing that divides is asked for.
    """
    workers = machine.workers if isinstance(machine, SharedMachine) else ""
    asked = asked_workers(workers)
    if asked is None:
        return ""
    divides = method != AUTO and method_named(method, search.method_settings).is_divisible
    if not divides or (isinstance(search, SearchOrAll) and search.by):
        kinds = ", ".join(name for name, kind in METHODS.items() if kind.is_divisible)
        raise MethodError(
            f"--workers: must go with a method whose work divides ({kinds}), and without --by, got "
            f"--method {search.method}. Workers would have nothing to do. Name such a method, or "
            "leave --workers out."
        )
    require_reachable(asked)
    return workers


def ground_settings(circuit: Circuit, ground: Ground, machine: Machine, **more: Any) -> Settings:
    """Return how to look at a circuit.

    Raises:
        MethodError: an unknown ablation.
    """
    return Settings(
        seed=circuit.provenance.seed if ground.seed is None else ground.seed,
        ablation=require_ablation(ground.ablation),
        memory=machine.budget,
        **more,
    )


def subject_of_file(
    circuit: Circuit, path: Path, ground: CircuitGround, machine: Machine
) -> Subject:
    """Return what a circuit is looked at on.

    Raises:
        CircuitFileError: the weights or the tokenizer are others than the circuit's.
        TaskError, ModelError, PromptError: they cannot be loaded or drawn.
    """
    return subject_of_circuit(
        circuit,
        path,
        Overrides(
            ground.task,
            ground.prompts,
            ground.metric,
            model_of(ground),
            ground.n,
            ground.seed,
            machine.device,
            machine.dtype,
            typed_command(),
            ground.bos,
            ground.allow_task_code,
            machine.trust_remote_code,
            ground.prompt_format,
        ),
        anyway=ground.anyway,
    )
