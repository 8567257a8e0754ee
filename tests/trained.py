"""Pairs for small published models whose important heads are known from ablation figures."""

import torch

from circuitkit.model.state_dicts import load_state_dict, renamed
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.model.test_published_models import palindromes, published, weights


def palindrome_model():
    state = weights("arena_palindromes_jul23/palindrome_classifier.pt")
    return load_state_dict(state, name="palindromes")


def induction_model():
    state = renamed(weights("toy_induction_2L/induction_head_infinite.pth")["model"])
    return load_state_dict(state, name="induction")


def story_model():
    return load_model(published("stories260K/hf"))


def broken_palindromes():
    """Palindromes, and the same with some of their second half changed."""
    whole = palindromes(200)[1::2]
    generator = torch.Generator().manual_seed(1)
    pairs = []
    for row in whole[:48].tolist():
        broken = list(row)
        for place in torch.randperm(10, generator=generator)[:5].tolist():
            broken[11 + place] = (broken[11 + place] + 7) % 31
        pairs.append(PromptPair(row, broken, [1], [0]))
    return tokenize_pairs(pairs)


def repeated_sequences():
    """A 16-token sequence pasted twice into random tokens; corrupted: the first time another."""
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for _ in range(48):
        tokens = torch.randint(128, (64,), generator=generator)
        pasted, other = (torch.randint(128, (16,), generator=generator) for _ in range(2))
        clean, corrupted = tokens.clone(), tokens.clone()
        clean[5:21], corrupted[5:21] = pasted, other
        end = int(torch.randint(4, 15, (1,), generator=generator))
        answer = int(pasted[end])
        clean, corrupted = (torch.cat([x[:33], pasted[:end]]).tolist() for x in (clean, corrupted))
        pairs.append(PromptPair(clean, corrupted, [answer], [int(other[end])]))
    return tokenize_pairs(pairs)


def girls_and_boys(model):
    """Stories of a girl and the same of a boy; half of the pairs the other way round."""
    names = ("Lily", "Tim", "Sam", "Mia", "Ben", "Anna", "Tom", "Sue")
    text = "Once upon a time, there was a little {} named {}."
    pairs = [
        PromptPair(text.format(a, name), text.format(b, name), [right], [wrong])
        for name in names
        for a, b, right, wrong in (("girl", "boy", 338, 346), ("boy", "girl", 346, 338))
    ]
    return tokenize_pairs(pairs, model.tokenizer, drop_misaligned=True)
