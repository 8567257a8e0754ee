"""Circuits with a known fault, and the criteria that should catch it.

    true            the planted circuit, or pico's own     must be supported
    minus-edge      without one edge that is needed        faithfulness or completeness
    plus-30%        with 30 % irrelevant edges             minimality
    random          as many edges, drawn evenly            faithfulness
    other-task      pico's circuit of another task         faithfulness
    untrained       pico's circuit in untrained weights    ability or ability-share

A missing backup edge does not show in faithfulness: completeness is there to catch it.
"""

import math
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.circuits.random_circuits import random_like
from circuitkit.model import SubjectModel
from circuitkit.prompts.splits import sample_splits
from circuitkit.study.cases import case_of
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from circuitkit.task import find_task
from circuitkit.validation.criteria import CRITERIA
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.verdict import REFUTED, SUPPORTED, UNDECIDED
from circuitkit.zoo import load_model, zoo_models
from circuitkit.zoo.planted import planted

MORE = 0.3  # of the circuit's edges
PICO_TASKS = ("ioi", "factual-recall", "induction")
CAUGHT_BY = {
    "minus-edge": ("faithfulness", "completeness"),
    "plus-30%": ("minimality",),
    "random": ("faithfulness",),
    "other-task": ("faithfulness",),
    "untrained": ("ability", "ability-share"),
}
JUDGED = tuple(name for name, criterion in CRITERIA.items() if not criterion.default.is_open)


@dataclass(frozen=True)
class CaseResult:
    """One circuit with a fault (or none), the verdict, and what refuted it."""

    subject: str
    ablation: str
    fault: str
    outcome: str
    refuted_by: tuple[str, ...]
    undecided_by: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether the true circuit is supported, or a criterion that should catch the fault did."""
        if self.fault == "true":
            return self.outcome == SUPPORTED
        return bool(set(CAUGHT_BY[self.fault]) & set(self.refuted_by))


def faulty(true: Circuit, seed: int) -> dict[str, Circuit]:
    """Return the circuit, and the same with each fault that edges alone can have."""
    rng, graph = random.Random(seed), true.graph
    kept = set(true.edges)
    others = [edge for edge in graph.edge_names if edge not in kept]
    more = rng.sample(others, min(len(others), math.ceil(MORE * true.n_edges)))
    dropped = rng.choice(true.edges)
    return {
        "true": true,
        "minus-edge": true.without_edges([dropped]),
        "plus-30%": true.with_edges(true.edge_mask | graph.mask_of(more)),
        "random": random_like(true, seed),
    }


def planted_cases(name: str, *, n: int, ablation: str) -> list[CaseResult]:
    """Return the cases of a planted circuit, as `planted-ioi:backup:1`, and of its faults."""
    instance = planted(name)
    model = instance.model(dtype=torch.float64)
    subject = subject_on(model, instance.task, n)
    circuits = faulty(instance.truth(model), instance.seed)
    return [tried(subject, name, fault, c, ablation) for fault, c in circuits.items()]


def pico_cases(directory: Path, task: str, *, n: int) -> list[CaseResult]:
    """Return the cases of pico's circuit of a task, `directory/<task>.json`, and of its faults.

    Raises:
        CircuitFileError: a circuit file is missing or damaged.
    """
    true = load_circuit(directory / f"{task}.json")
    subject = subject_on(load_model("pico"), task, n)
    other = next(name for name in PICO_TASKS if name != task)
    circuits = faulty(true, seed=0) | {"minus-edge": without_neediest(subject, true)}
    circuits["other-task"] = load_circuit(directory / f"{other}.json")
    cases = [tried(subject, f"pico on {task}", f, c, "mean") for f, c in circuits.items()]
    blank = subject_on(untrained_pico(), task, n)
    return [*cases, tried(blank, f"pico on {task}", "untrained", true, "mean")]


def without_neediest(subject: Subject, true: Circuit) -> Circuit:
    """Return the circuit without the edge that changes f most, on the discovery pairs.

    Planted edges are all needed; of a trained model's, most do little.
    """
    splits = replace(subject.splits, validation=subject.splits.discovery)
    case = case_of(replace(subject, splits=splits), without_prompts(true), Settings())
    fewer = [true.without_edges([edge]) for edge in true.edges]
    own, *others = case.faithfulness([true, *fewer])
    return max(zip(fewer, others, strict=True), key=lambda pair: abs(pair[1] - own))[0]


def without_prompts(circuit: Circuit) -> Circuit:
    """Return the circuit without the digests of the prompts that found it."""
    return replace(circuit, provenance=replace(circuit.provenance, discovery_prompts=()))


def subject_on(model: SubjectModel, task_name: str, n: int) -> Subject:
    """Return a task on a model, with `n` pairs in each split."""
    task = find_task(task_name)
    splits = sample_splits(task, model.tokenizer, n=n, seed=0)
    return Subject(task.name, task.description, task.metric, model, splits, source=task)


def tried(subject: Subject, name: str, fault: str, circuit: Circuit, ablation: str) -> CaseResult:
    """Return the verdict on a circuit by every criterion that has a default bound."""
    settings = Settings(ablation=ablation)
    case = case_of(subject, without_prompts(circuit), settings)
    verdict = judge_circuit(case, settings.thresholds, only=JUDGED)
    refuted = tuple(c.criterion for c in verdict.checks if c.outcome == REFUTED)
    open_ = tuple(c.criterion for c in verdict.checks if c.outcome == UNDECIDED)
    return CaseResult(name, ablation, fault, verdict.outcome, refuted, open_)


def untrained_pico() -> SubjectModel:
    """Return a model of pico's architecture and tokenizer with fresh random weights."""
    source = next(entry.directory for entry in zoo_models() if entry.name == "pico")
    assert source is not None
    torch.manual_seed(0)
    with TemporaryDirectory() as place:
        for file in source.iterdir():
            if not file.name.endswith(".safetensors"):
                shutil.copy(file, place)
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source)).save_pretrained(place)
        return load_model(place)
