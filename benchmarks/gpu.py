"""What the engine costs on a GPU: agreement with the CPU, ratios in one run, and where it waits.

    python benchmarks/gpu.py -o gpu.json          the table as it is measured, and the numbers
    python benchmarks/gpu.py --tiny -o gpu.json   small shapes, on the CPU too: whether it runs

Random weights. F is a forward pass of the plain Hugging Face model with all logits, FB one with the
backward pass to its inputs, weights frozen. Each time is the median of several rounds, ours and
theirs in turns, after a warm-up. A step that fails is named at the end; the others stay.
"""

import argparse
import collections
import json
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from circuitkit.circuits.selection import select_top
from circuitkit.discovery import eap
from circuitkit.discovery.exact import CHUNK, by_receiver
from circuitkit.discovery.methods import method_named
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.edges import EdgeBench, measure_edges
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference
from circuitkit.model import SubjectModel, from_hf
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model

RIGHT, WRONG = 11, 22
DIFFERS_AT = 1  # nothing worth sharing lies in front: the whole prompt is run
METRIC = LogitDifference()
N_CIRCUITS = 32
ROWS = (256, 1024, 4096)
SHARE = 16  # one in so many chunks of edges is timed
LLAMA_3_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
}


@dataclass
class Told:
    """What was found, printed as it comes and written after every step."""

    path: Path | None
    limit_s: float
    start: float = field(default_factory=time.perf_counter)
    found: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def say(self, name: str, /, **numbers: Any) -> None:
        """Keep the numbers of a row, and print it."""
        self.found[name] = numbers
        shown = ", ".join(f"{key} {_shown(value)}" for key, value in numbers.items())
        print(f"{time.perf_counter() - self.start:6.1f} s  {name}: {shown}", flush=True)
        self.write()

    def write(self) -> None:
        """Write what is known."""
        if self.path is not None:
            whole = {"found": self.found, "failed": self.failed}
            self.path.write_text(json.dumps(whole, indent=1) + "\n")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Let a failure inside the block be the block's alone."""
        try:
            if time.perf_counter() - self.start > self.limit_s:
                raise TimeoutError(f"left out: {self.limit_s} s have passed")
            yield
        except Exception as error:  # the other steps are worth having
            self.failed[name] = "".join(traceback.format_exception(error)[-6:])
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
            self.write()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def make_pairs(n: int, length: int, vocab: int, at: int = DIFFERS_AT) -> PromptPairs:
    """Return random pairs that differ at one position."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(0, vocab, (n, length), generator=generator)
    corrupted = clean.clone()
    corrupted[:, at] = torch.randint(0, vocab, (n,), generator=generator)
    rows = zip(clean.tolist(), corrupted.tolist(), strict=True)
    return tokenize_pairs([PromptPair(a, b, [RIGHT], [WRONG]) for a, b in rows])


def wait() -> None:
    """Wait until the device has done everything."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes, the device's work included."""
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def compare(
    theirs: Callable[[], object], ours: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Return the medians of both and of the ratio ours / theirs, run in turns."""
    for work in (ours, theirs, ours):
        work()
    both = [(seconds(theirs), seconds(ours)) for _ in range(rounds)]
    theirs_s, ours_s = (statistics.median(column) for column in zip(*both, strict=True))
    return theirs_s, ours_s, statistics.median(b / a for a, b in both)


@dataclass(frozen=True)
class Contest:
    """A plain model, and ours with the same weights, on the same pairs."""

    plain: Any
    model: SubjectModel
    pairs: PromptPairs

    def forward(self) -> None:
        """Run the plain model once, all logits."""
        with torch.no_grad():
            self.plain(self.clean, use_cache=False)

    def forward_backward(self) -> None:
        """Run the plain model and its backward pass to the embeddings, all logits."""
        embedded = self.plain.get_input_embeddings()(self.clean).detach().requires_grad_()
        logits = self.plain(inputs_embeds=embedded, use_cache=False).logits[:, -1]
        torch.autograd.grad((logits[:, RIGHT] - logits[:, WRONG]).sum(), embedded)

    def limit(self) -> None:
        """Run what attribution cannot do without: F + FB."""
        self.forward()
        self.forward_backward()

    @property
    def clean(self) -> torch.Tensor:
        """The clean tokens, where the model is."""
        return self.pairs.clean.to(self.model.device)

    def eap(self) -> Any:
        """Score every edge."""
        return eap.score_edges(self.model, self.pairs, METRIC)


def agreement(told: Told, device: str, tiny: bool) -> None:
    """Compare the device with the CPU in float64, on the model that ships with circuitkit."""
    here, there = (load_model("pico", device=at, dtype="float64") for at in ("cpu", device))
    vocab = len(here.token_embeddings)
    pairs = make_pairs(4 if tiny else 32, 12, vocab)
    gaps = {}
    for name in ("eap", "eap-ig", "relp"):
        method = method_named(name)
        gaps[name] = _gap(
            *(method.score_edges(m, pairs, METRIC, Work()).by_edge() for m in (here, there))
        )
    edges = here.graph.edge_names[:: 97 if tiny else 7]
    gaps["exact"] = _gap(*(measure_edges(m, pairs, edges, METRIC).effects for m in (here, there)))
    circuit = select_top(eap.score_edges(here, pairs, METRIC), here.graph.n_edges // 4)
    kinds = {
        "resample": ResampleAblation,
        "zero": ZeroAblation,
        "mean": lambda: MeanAblation(pairs),
    }
    for name, kind in kinds.items():
        gaps[f"circuit, {name}"] = _gap(
            *(
                evaluate_circuits(m, pairs, [circuit], ablation=kind(), metric=METRIC)
                for m in (here, there)
            )
        )
    told.say("agreement of float64, largest gap / largest value", **gaps)


def _gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max())


def attribution(told: Told, plain: Any, model: SubjectModel, shapes: Any, rounds: int) -> None:
    """Set EAP against F + FB, and F and FB alone beside them."""
    for n, length in shapes:
        with told.step(f"EAP, {n} x {length}"):
            contest = Contest(plain, model, make_pairs(n, length, plain.config.vocab_size))
            limit, ours, ratio = compare(contest.limit, contest.eap, rounds)
            told.say(
                f"EAP, {n} x {length}",
                f_ms=1e3 * statistics.median(seconds(contest.forward) for _ in range(rounds)),
                limit_ms=1e3 * limit,
                ours_ms=1e3 * ours,
                ratio=ratio,
            )


def circuits(told: Told, contest: Contest, n_edges: int, rounds: int) -> None:
    """Set one circuit, and many at once, against one forward pass for each."""
    circuit = select_top(contest.eap(), n_edges)

    def run(n: int) -> object:
        return evaluate_circuits(
            contest.model,
            contest.pairs,
            [circuit] * n,
            ablation=ResampleAblation(),
            metric=METRIC,
        )

    def different() -> object:
        return evaluate_circuits(
            contest.model, contest.pairs, others, ablation=ResampleAblation(), metric=METRIC
        )

    scores = contest.eap()
    others = [select_top(scores, n_edges + i * max(1, n_edges // 125)) for i in range(N_CIRCUITS)]
    shape = f"{len(contest.pairs)} x {contest.pairs.clean.shape[1]}"
    for n, what, work in (
        (1, f"one circuit of {n_edges} edges", lambda: run(1)),
        (N_CIRCUITS, f"{N_CIRCUITS} circuits at once, each", different),
    ):
        name = f"{what}, {shape}"
        with told.step(name):
            f, ours, ratio = compare(contest.forward, work, rounds if n == 1 else 3)
            told.say(name, f_ms=1e3 * f, ours_ms=1e3 * ours / n, ratio=ratio / n)


def exact(told: Told, contest: Contest, share: int, rows: tuple[int, ...]) -> None:
    """Time a share of all edges with several sizes of batches, and say what all would take."""
    model, pairs = contest.model, contest.pairs
    order = by_receiver(model.graph)
    starts = range(0, len(order), CHUNK)[share // 2 :: share]
    chunks = [order[start : start + CHUNK] for start in starts]
    n = sum(len(chunk) for chunk in chunks)
    ours = rows_per_batch(model, pairs, None)[1]
    sums = {}
    for size in dict.fromkeys((*rows, ours)):
        name = f"exact edges, {len(pairs)} x {pairs.clean.shape[1]}, batches of {size} rows"
        with told.step(name):
            bench = EdgeBench(model, pairs, METRIC, ResampleAblation(), Direction.NOISING, size)
            found: list[float] = []

            def work(bench: EdgeBench = bench, found: list[float] = found) -> None:
                for chunk in chunks:
                    found.extend(float(block.sum()) for _, block in bench.effects(chunk))

            for _ in bench.effects(chunks[0]):  # warm up
                pass
            taken = seconds(work)
            sums[size] = sum(found)
            all_of_it = taken * model.graph.n_edges / n
            told.say(name, edges=n, share=n / model.graph.n_edges, s=taken, all_edges_s=all_of_it)
    told.say("exact edges", rows_chosen=ours, sums={str(k): v for k, v in sums.items()})


@contextmanager
def waits() -> Iterator[collections.Counter[str]]:
    """Count inside the block how often Python waits for the device, by the line that waits."""
    counted: collections.Counter[str] = collections.Counter()

    def note(*_: Any, **__: Any) -> None:
        frames = [f for f in traceback.extract_stack() if "circuitkit" in f.filename]
        frames = frames or traceback.extract_stack()[:-1]
        counted[f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].line}"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield counted
        finally:
            torch.cuda.set_sync_debug_mode("default")


def synchronisations(told: Told, contest: Contest, n_edges: int) -> None:
    """Say how often the engine waits, and where."""
    circuit = select_top(contest.eap(), n_edges)
    model, pairs = contest.model, contest.pairs
    edges = model.graph.edge_names[::1009]
    calls: dict[str, Callable[[], object]] = {
        "EAP": contest.eap,
        "one circuit": lambda: evaluate_circuits(
            model, pairs, [circuit], ablation=ResampleAblation(), metric=METRIC
        ),
        f"{len(edges)} exact edges": lambda: measure_edges(model, pairs, edges, METRIC),
    }
    for name, call in calls.items():
        with told.step(f"waits of {name}"):
            call()
            wait()
            with waits() as counted:
                call()
            told.say(f"waits of {name}", n=sum(counted.values()), where=dict(counted))


def launches(told: Told, contest: Contest) -> None:
    """Say how many kernels EAP launches, and how long the device was busy with them."""
    from torch.profiler import ProfilerActivity, profile

    contest.eap()
    wait()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        contest.eap()
        wait()
    kernels = [e for e in seen.key_averages() if e.self_device_time_total > 0]
    kernels.sort(key=lambda e: -e.self_device_time_total)
    told.say(
        "EAP under the profiler",
        kernels=sum(e.count for e in kernels),
        busy_ms=sum(e.self_device_time_total for e in kernels) / 1e3,
        most={e.key[:60]: round(e.self_device_time_total / 1e3, 3) for e in kernels[:12]},
    )


def llama(told: Told, device: str, tiny: bool) -> None:
    """Set EAP of Llama 3 8B's shape in bfloat16 against F + FB."""
    shape = LLAMA_3_8B
    if tiny:
        small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        shape = shape | small | {"num_attention_heads": 4, "num_key_value_heads": 2}
        shape = shape | {"vocab_size": 512}
    made = time.perf_counter()
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        try:
            plain = LlamaForCausalLM(LlamaConfig(**shape)).eval().requires_grad_(False)
        finally:
            torch.set_default_dtype(torch.float32)
    wait()
    taken = time.perf_counter()
    model = from_hf(plain)
    wait()
    n_parameters = sum(p.numel() for p in plain.parameters())
    told.say(
        "Llama 3 8B's shape, made and taken apart",
        parameters=n_parameters,
        edges=model.graph.n_edges,
        made_s=taken - made,
        taken_apart_s=time.perf_counter() - taken,
    )
    contest = Contest(plain, model, make_pairs(16, 32, shape["vocab_size"]))
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    limit, ours, ratio = compare(contest.limit, contest.eap, 3)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0
    told.say(
        "Llama 3 8B's shape, bfloat16, EAP of 16 x 32",
        limit_ms=1e3 * limit,
        ours_ms=1e3 * ours,
        ratio=ratio,
        peak_gb=peak,
    )


def gpt2(told: Told, device: str, options: argparse.Namespace) -> None:
    """Measure on GPT-2 small's shape in float32."""
    tiny = options.tiny
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_embd=48, n_head=4, vocab_size=500) if tiny else GPT2Config()
    plain = GPT2LMHeadModel(config).eval().requires_grad_(False).to(device)
    model = from_hf(plain)
    sizes = ((4, 8), (6, 8)) if tiny else ((16, 16), (100, 16), (100, 64))
    n_edges = 20 if tiny else 1000
    attribution(told, plain, model, sizes, options.rounds)
    contest = Contest(plain, model, make_pairs(*sizes[1], config.vocab_size))
    if device == "cuda":
        synchronisations(told, contest, n_edges)
        with told.step("EAP under the profiler"):
            launches(told, contest)
    with told.step("circuits"):
        circuits(told, contest, n_edges, options.rounds)
    with told.step("exact edges"):
        exact(told, contest, 1 if tiny else SHARE, (8, 16) if tiny else ROWS)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--tiny", action="store_true", help="small shapes, to see that it runs")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=float, default=240, help="seconds; later steps left out")
    options = parser.parse_args()
    told = Told(options.output, options.limit)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        parser.error("no GPU here: use --tiny to see that it runs")
    told.say(
        "device",
        gpu=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        torch=torch.__version__,
        transformers=transformers.__version__,
    )
    with told.step("agreement"):
        agreement(told, device, options.tiny)
    with told.step("GPT-2 small's shape"):
        gpt2(told, device, options)
    with told.step("Llama 3 8B's shape"):
        llama(told, device, options.tiny)
    told.write()
    raise SystemExit(f"failed: {', '.join(told.failed)}" if told.failed else 0)


if __name__ == "__main__":
    main()
