"""Small models and prompts. No two axes share a size, and no model is linear."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read at import: a wrong model name must fail at once
os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start, too

import copy
import gc
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from transformers import GPT2Config, GPT2LMHeadModel

from circuitkit.interventions.ablation import Ablation, ResampleAblation
from circuitkit.interventions.recorded import RecordedRun
from circuitkit.metrics import LogitDifference
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.recording import attention_bias_before, record, sender_outputs
from circuitkit.model.runs import whole_run
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.reporting.pictures import Album, Missing
from circuitkit.study import subject as studied
from circuitkit.zoo import load_model

# pytest --hypothesis-profile=nightly tests/fuzz
settings.register_profile("ci", max_examples=200, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=10_000, derandomize=False, database=None)
settings.load_profile("ci")

torch.set_num_threads(1)  # the models here are so small that threads only wait for each other


def pytest_collection_finish() -> None:
    """Keep the libraries' million objects from being looked through again and again."""
    gc.freeze()


DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"
N_LAYERS, N_HEADS, D_HEAD, VOCAB = 3, 4, 5, 37


DRAW = Album._attempt


@pytest.fixture(scope="session", autouse=True)
def pictures_drawn_once():
    """Draw a plot once for all reports of a session that show it: most of them show the same."""
    made = {}

    def attempt(album, draw, of):
        if not of:  # a drawing of its own, which says not what it shows
            return DRAW(album, draw, of)
        if (draw, of) not in made:
            drawn = DRAW(album, draw, of)
            if isinstance(drawn, Missing):
                return drawn
            made[draw, of] = drawn
        return made[draw, of]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Album, "_attempt", attempt)
        yield


def files_of(name: str | Path) -> tuple[tuple[str, str], ...]:
    """Return the name and digest of every file in a directory; none if it is no directory."""
    root = Path(name)
    try:
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return tuple(
            (str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest())
            for path in files
        )
    except (OSError, ValueError):  # no name of a file, or one that cannot be read
        return ()


@pytest.fixture(scope="session", autouse=True)
def models_loaded_once():
    """Load a model once for all commands of a session that name files of the same content.

    Commands leave a model as it was (`fingerprint`). What warns or fails is loaded each time.
    """
    loaded, load = {}, studied.load_model

    def remembered(name, **options):
        files = files_of(name)
        key = (None if files else str(name), files, *sorted(options.items()))
        if key not in loaded:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model = load(name, **options)
            for each in caught:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
            if caught:
                return model
            loaded[key] = model
        model = copy.copy(loaded[key])
        vars(model)["name"] = str(name)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studied, "load_model", remembered)
        yield


@pytest.fixture
def drawn_anew(monkeypatch):
    """Draw every picture, whatever was drawn before."""
    monkeypatch.setattr(Album, "_attempt", DRAW)


def save_toy(
    directory: Path, seed: int = 0, *, n_layers: int = N_LAYERS, n_heads: int = N_HEADS
) -> Path:
    """Save a random GPT-2 with large weights, so that softmax, norms and GELU all matter."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=16,
        n_embd=n_heads * D_HEAD,
        n_layer=n_layers,
        n_head=n_heads,
        n_inner=48,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "ln_" in name:
            torch.nn.init.normal_(
                parameter, mean=float("ln_" in name and "weight" in name), std=0.3
            )
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def toy_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy(toy_directory: Path) -> SubjectModel:
    """A random model in float64."""
    return load_model(toy_directory, dtype=torch.float64)


def random_pairs(
    n: int = 6, *, lengths: tuple[int, ...] = (7, 9), seed: int = 0
) -> list[PromptPair]:
    """Return pairs of token ids that differ at two positions; lengths alternate."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        length = lengths[i % len(lengths)]
        clean = rng.integers(0, VOCAB, length)
        corrupted = clean.copy()
        where = rng.choice(length - 1, 2, replace=False)
        corrupted[where] = (corrupted[where] + rng.integers(1, VOCAB, 2)) % VOCAB
        right, wrong = rng.choice(VOCAB, 2, replace=False)
        pairs.append(
            PromptPair(
                clean.tolist(),
                corrupted.tolist(),
                [int(right)],
                [int(wrong)],
                roles={"A": (1, 2), "B": (3, 5)},
                template=f"length {length}",
            )
        )
    return pairs


@pytest.fixture
def pairs() -> PromptPairs:
    """Six pairs of 7 and 9 tokens, left padded."""
    return tokenize_pairs(random_pairs())


@pytest.fixture
def metric() -> LogitDifference:
    return LogitDifference()


@pytest.fixture(scope="session")
def tiny_gpt2() -> SubjectModel:
    """The model that the recorded numbers of public tools are about."""
    return load_model(DATA / "tiny-gpt2" / "model", dtype=torch.float64)


@pytest.fixture(scope="session")
def tiny_pairs() -> PromptPairs:
    """The prompts that the recorded numbers are about."""
    tokens = np.load(DATA / "tiny-gpt2" / "model" / "tokens.npz")
    rows = zip(tokens["clean"], tokens["corrupted"], tokens["answers"], strict=True)
    return tokenize_pairs(
        [
            PromptPair(clean.tolist(), corrupted.tolist(), [int(a[0])], [int(a[1])])
            for clean, corrupted, a in rows
        ]
    )


@pytest.fixture(scope="session")
def tiny_reference() -> PromptPairs:
    """The prompts for mean ablation of the recorded numbers."""
    tokens = np.load(DATA / "tiny-gpt2" / "model" / "tokens.npz")["mean_tokens"]
    return tokenize_pairs([PromptPair(row.tolist(), row.tolist(), [0], [1]) for row in tokens])


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], dict[str, NDArray[np.float64]]]:
    """Load a recorded file of arrays by name."""

    def load(name: str) -> dict[str, NDArray[np.float64]]:
        with np.load(DATA / "tiny-gpt2" / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays.files}

    return load


def fingerprint(model: SubjectModel):
    bridge = model.bridge
    hooks = {name: len(point.fwd_hooks) for name, point in bridge.hook_dict.items()}
    torch_hooks = {
        name: (len(module._forward_hooks), len(module._backward_hooks))
        for name, module in bridge.named_modules()
    }
    flags = [(p.requires_grad, p.grad is None) for p in bridge.parameters()]
    modes = [(m.training, repr(vars(m).get("forward"))) for m in bridge.modules()]
    settings = {key: repr(value) for key, value in vars(bridge.cfg).items()}
    return hooks, torch_hooks, flags, modes, settings, torch.is_grad_enabled()


def residual_gaps(model: SubjectModel, batch: PromptBatch) -> list[float]:
    """Return how far the senders' sum is from the residual stream behind each layer.

    As a share of its largest entry.
    """
    points = [hook_points.resid_post(layer) for layer in range(model.graph.n_layers)]
    run = RecordedRun(model, whole_run(model, batch), points)
    outputs = sender_outputs(model, run.activations)
    real = batch.mask.flatten()
    gaps = []
    for layer, point in enumerate(points):
        n_senders = model.graph.n_senders_before_attention(layer + 1)
        total = outputs[:n_senders].sum(0) + attention_bias_before(model, layer, own_layer=True)
        actual = run.kept[point].flatten(0, 1)
        gaps.append(float((total - actual)[real].abs().max() / actual[real].abs().max()))
    return gaps


class Nearly(Ablation):
    """Ablated values that are the clean ones but for a small step towards the corrupted ones."""

    name = "nearly"

    def __init__(self, step):
        self.step = step

    def values(self, model, pairs, behind=None):
        clean, _ = record(model, pairs.clean_batch)
        away = clean.minus(ResampleAblation().values(model, pairs))
        return clean.minus(away.map(lambda x: self.step * x))
