"""Score texts with a scorer that `circuitkit monitor` wrote, with plain transformers.

python examples/apply_scorer.py SCORER MODEL "a text" "another text"
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def scores_of(scorer: Path, name: str, texts: list[str]) -> list[float]:
    """Return the score of each text."""
    said = json.loads((scorer / "scorer.json").read_text())
    direction = load_file(scorer / "scorer.safetensors")["direction"]
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name).eval()
    scores = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        if said["begins_with"] is not None and ids[0] != said["begins_with"]:
            ids = [said["begins_with"], *ids]
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        at = states[said["hidden_state"]][0, said["token"]]
        scores.append(float(at.double() @ direction))
    return scores


if __name__ == "__main__":
    folder, texts = Path(sys.argv[1]), sys.argv[3:]
    threshold = json.loads((folder / "scorer.json").read_text())["threshold"]
    for text, score in zip(texts, scores_of(folder, sys.argv[2], texts), strict=True):
        print(f"{score:+.4f}  {'alarm' if score > threshold else 'quiet'}  {text}")
