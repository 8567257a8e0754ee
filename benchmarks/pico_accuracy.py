"""The accuracies on pico's model card: `python benchmarks/pico_accuracy.py`.

Shares of prompts whose most likely next token, of the whole vocabulary, is right; for the shipped
weights and for an untrained copy. The first table is on pico's own held-out prompts, the second on
the clean prompts of the built-in tasks.
"""

import itertools
import random

from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from circuitkit.task import Task, find_task
from circuitkit.zoo import zoo_models
from circuitkit.zoo.pico.evaluate import Prompt, evaluate, top_1_accuracy, untrained_copy
from circuitkit.zoo.pico.language import is_held_out_pair

N_PROMPTS = 1000
N_DRAWN = 10_000  # about a tenth have held-out names


def clean_prompts(task: Task, *, n: int, seed: int) -> list[Prompt]:
    """Return clean prompts with their first answer."""
    pairs = itertools.islice(task.pairs(random.Random(seed)), n)
    return [(str(pair.clean), str(pair.answers[0]).strip()) for pair in pairs]


def held_out_names(*, seed: int) -> list[Prompt]:
    """Return IOI prompts of names that never give to each other in training."""
    pairs = itertools.islice(find_task("ioi").pairs(random.Random(seed)), N_DRAWN)
    named = [(p, str(p.answers[0]).strip(), str(p.wrong_answers[0]).strip()) for p in pairs]
    return [(str(p.clean), answer) for p, answer, other in named if is_held_out_pair(answer, other)]


def main() -> None:
    """Measure and print."""
    weights = zoo_models()[0].directory
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(weights).eval()
    tokenizer = AutoTokenizer.from_pretrained(weights)
    held_out = held_out_names(seed=3)
    for title, subject in (("trained", model), ("untrained copy", untrained_copy(model))):
        print(f"{title}: {evaluate(subject, tokenizer, n_prompts=N_PROMPTS)}")
        for name in ("ioi", "induction", "factual-recall"):
            prompts = clean_prompts(find_task(name), n=N_PROMPTS, seed=2)
            print(f"  task {name}: {top_1_accuracy(subject, tokenizer, prompts):.3f}")
        share = top_1_accuracy(subject, tokenizer, held_out)
        print(f"  task ioi, held-out names ({len(held_out)} prompts): {share:.3f}")


if __name__ == "__main__":
    main()
