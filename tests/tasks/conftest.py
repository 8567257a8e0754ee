"""The two tokenizers that every task must fit, and samples of pairs."""

import itertools
import random
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from circuitkit.zoo.pico.tokenizer import build_tokenizer

GPT2_TOKENIZER = Path(__file__).parents[3] / "shared" / "tokenizers" / "gpt2"


@pytest.fixture(scope="session", params=["pico", "gpt2"])
def tokenizer(request):
    if request.param == "pico":
        return build_tokenizer()
    if not GPT2_TOKENIZER.is_dir():
        pytest.skip("GPT-2's tokenizer is not here")
    return AutoTokenizer.from_pretrained(GPT2_TOKENIZER)


@pytest.fixture(scope="session")
def sample():
    """Return `n` pairs of a stream with seed 0, as a function of the stream."""

    def sampled(stream, n=200):
        return list(itertools.islice(stream(random.Random(0)), n))

    return sampled
