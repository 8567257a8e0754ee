"""What `docs/finetuning.md` says of a fine-tuned pico, measured anew.

    python benchmarks/finetuning.py OUTPUT

trains every block of pico for STEPS steps to name the giver in place of the receiver, and writes
the tuned model to OUTPUT/tuned. Then

    circuitkit finetuning ioi --model OUTPUT/tuned -o OUTPUT/found
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

import circuitkit as ck
from circuitkit.prompts.splits import sample_splits
from circuitkit.zoo.catalogue import zoo_models

STEPS, PAIRS, BATCH, RATE, SEED = 40, 256, 64, 3e-4, 77


def main() -> None:
    """Train, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output / "tuned"
    torch.manual_seed(0)
    tokenizer = ck.load_model("pico").tokenizer
    place = next(each.directory for each in zoo_models() if each.name == "pico")
    model = AutoModelForCausalLM.from_pretrained(place).train()
    pairs = sample_splits(ck.find_task("ioi"), tokenizer, n=PAIRS, seed=SEED).discovery
    batch, wrong = pairs.clean_batch, pairs.labels.wrong_answers[:, 0]
    tuned = [weight for name, weight in model.named_parameters() if ".h." in name]
    optimizer = torch.optim.AdamW(tuned, lr=RATE)
    for step in range(STEPS):
        rows = torch.randperm(PAIRS)[:BATCH]
        logits = model(
            batch.tokens[rows],
            attention_mask=batch.mask[rows].long(),
            position_ids=batch.position_ids[rows],
        ).logits[torch.arange(BATCH), batch.label_pos[rows]]
        loss = torch.nn.functional.cross_entropy(logits, wrong[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.4f}")
    model.eval().save_pretrained(output)
    tokenizer.save_pretrained(output)
    print(output)


if __name__ == "__main__":
    main()
