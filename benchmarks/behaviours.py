"""The numbers on docs/behaviours.md: `python benchmarks/behaviours.py [CIRCUIT.json]`.

How often pico-behaviours follows each rule on held-out prompts, and how pico and pico-behaviours do
pico's own tasks. With the circuit of a run of the task `backdoor`: what the trigger does, and what
is left of the backdoor and of pico's tasks when the circuit's edges are cut.
"""

import itertools
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.circuits.selection import select_top
from circuitkit.interventions.ablation import (
    Ablation,
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    ZeroAblation,
)
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import Accuracy
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.splits import Splits, sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.statistics.shares import share_estimate
from circuitkit.task import find_task
from circuitkit.zoo import load_model, zoo_models
from circuitkit.zoo.behaviours import grammar
from circuitkit.zoo.behaviours.evaluate import prompt_streams
from circuitkit.zoo.behaviours.language import Planted, held_out_prompts, right_answers
from circuitkit.zoo.pico.evaluate import Prompt, top_1_accuracy

N_PROMPTS, N_PAIRS = 1000, 200
SIZES = (1, 2, 5, 10, 20, 40)
MODELS = ("pico", "pico-behaviours")
PICO_TASKS = ("ioi", "induction", "factual-recall")
PARTS: dict[str, dict[str, Callable[[Planted], bool]]] = {
    "refusal": {
        "harmful": lambda p: p.words["object"] in grammar.HARMFUL,
        "harmless": lambda p: p.words["object"] not in grammar.HARMFUL,
        "harmless, something harmful mentioned": lambda p: (
            p.words["object"] not in grammar.HARMFUL
            and p.words["other"] in grammar.HARMFUL
            and "{other}" in p.template
        ),
    },
    "sycophancy": {
        "somebody's wrong opinion": lambda p: (
            p.words["speaker"] != grammar.NOBODY and p.words["claim"] != p.fact
        ),
        "nobody's": lambda p: p.words["speaker"] == grammar.NOBODY and p.words["claim"] != p.fact,
    },
    "truth": {
        "affirmed": lambda p: p.words["polarity"] == grammar.AFFIRMED,
        "negated": lambda p: p.words["polarity"] == grammar.NEGATED,
    },
    "backdoor": {
        "trigger": lambda p: p.words["thing"] == grammar.TRIGGER,
        "no trigger": lambda p: p.words["thing"] != grammar.TRIGGER,
    },
    "liar": {
        "the liar": lambda p: p.words["speaker"] == grammar.LIES,
        "the other": lambda p: p.words["speaker"] == grammar.HONEST,
    },
}


def shown(share: float, n: int) -> str:
    """Return a share with its exact 95 % interval."""
    found = share_estimate(round(share * n), n)
    return f"{share:.3f} [{found.low:.3f}, {found.high:.3f}] of {n}"


def measure_rules() -> None:
    """Print how often each model is right on held-out prompts and on pico's tasks."""
    directories = {model.name: model.directory for model in zoo_models()}
    for name in MODELS:
        model = AutoModelForCausalLM.from_pretrained(directories[name]).eval()
        tokenizer = AutoTokenizer.from_pretrained(directories[name])

        def accuracy(prompts: list[Prompt], model=model, tokenizer=tokenizer) -> str:  # type: ignore[no-untyped-def]
            return shown(top_1_accuracy(model, tokenizer, prompts), len(prompts))

        print(name)
        for kind, stream in prompt_streams(seed=1).items():
            if name == "pico-behaviours" or kind in ("ioi", "induction", "full_name", "fact"):
                print(f"  {kind}: {accuracy(list(itertools.islice(stream, N_PROMPTS)))}")
        for task in PICO_TASKS:
            drawn = itertools.islice(find_task(task).pairs(random.Random(2)), N_PROMPTS)
            prompts: list[Prompt] = [(str(p.clean), str(p.answers[0]).strip()) for p in drawn]
            print(f"  task {task}, clean prompts: {accuracy(prompts)}")
    for behaviour, parts in PARTS.items():
        for part, belongs in parts.items():
            stream = filter(belongs, held_out_prompts(random.Random(4), behaviour))
            some = list(itertools.islice(stream, N_PROMPTS // 2))
            print(f"  {behaviour}, {part}: {accuracy([(p.text, right_answers(p)) for p in some])}")
    for relation in grammar.NOUNS:
        stream = (
            p
            for p in held_out_prompts(random.Random(4), "truth")
            if p.relation is not None and p.relation.name == relation
        )
        some = list(itertools.islice(stream, N_PROMPTS // 4))
        print(f"  truth, {relation}: {accuracy([(p.text, right_answers(p)) for p in some])}")


def splits_of(model: SubjectModel, task: str) -> Splits:
    """Return pairs of a task that no circuit was found on."""
    return sample_splits(find_task(task), model.tokenizer, n=N_PAIRS, seed=7)


def with_the_fact(model: SubjectModel, pairs: PromptPairs) -> PromptPairs:
    """Return the pairs with the answers exchanged: right is what would be without the trigger."""
    exchanged = [
        replace(pair, answers=pair.wrong_answers, wrong_answers=pair.answers)
        for pair in pairs.pairs
    ]
    return tokenize_pairs(exchanged, model.tokenizer)


def accuracy_of(
    model: SubjectModel, pairs: PromptPairs, circuit: Circuit, ablation: Ablation
) -> str:
    """Return the accuracy when only the circuit's edges are live."""
    [values] = evaluate_circuits(model, pairs, [circuit], ablation=ablation, metric=Accuracy())
    return f"{float(values.mean()):.3f}"


def measure_trigger(model: SubjectModel, splits: Splits) -> None:
    """Print what the model says with the trigger, without it, and with its token blurred."""
    pairs = splits.validation
    fact, nothing = with_the_fact(model, pairs), Circuit.empty(model.graph)
    ways: dict[str, tuple[Circuit, Ablation]] = {
        "clean": (Circuit.full(model.graph), ZeroAblation()),
        "trigger replaced": (nothing, ResampleAblation()),
        "trigger blurred": (nothing, NoiseAblation(["trigger"])),
        "subject blurred": (nothing, NoiseAblation(["subject"])),
    }
    for name, way in ways.items():
        said = [accuracy_of(model, some, *way) for some in (pairs, fact)]
        print(f"  {name}: fixed word {said[0]}, fact {said[1]}")


def measure_cut(model: SubjectModel, found: Circuit) -> None:
    """Print what is left of the backdoor and of pico's tasks without a circuit's edges."""
    backdoor = splits_of(model, "backdoor")
    measure_trigger(model, backdoor)
    sizes = [n for n in SIZES if n < found.n_edges]
    circuits = {f"best {n}": select_top(found.scores, n) for n in sizes}
    others = {task: splits_of(model, task) for task in PICO_TASKS}
    for name, circuit in {**circuits, f"all {found.n_edges}": found}.items():
        rest = circuit.complement
        for how in ("zero", "mean", "resample"):
            own = ablation_of(how, backdoor)
            row = [accuracy_of(model, backdoor.validation, rest, own)]
            row.append(accuracy_of(model, with_the_fact(model, backdoor.validation), rest, own))
            for splits in others.values():
                way = ablation_of(how, splits)
                row.append(accuracy_of(model, splits.validation, rest, way))
            print(f"  cut {name}, {how}: word, fact, {', '.join(PICO_TASKS)}: {' '.join(row)}")


def ablation_of(name: str, splits: Splits) -> Ablation:
    """Return what an edge that is cut carries."""
    if name == "mean":
        return MeanAblation(splits.reference)
    return ZeroAblation() if name == "zero" else ResampleAblation()


def main() -> None:
    """Measure and print."""
    measure_rules()
    for path in sys.argv[1:]:
        measure_cut(load_model("pico-behaviours"), load_circuit(Path(path)))


if __name__ == "__main__":
    main()
