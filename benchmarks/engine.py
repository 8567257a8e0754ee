"""Speed and memory of the engine on a GPT-2-small-shaped model: ratios measured side by side.

    python benchmarks/engine.py                    the table; --json for the numbers
    python benchmarks/engine.py --only circuit     rows whose name holds a word
    python benchmarks/engine.py --device cuda      on a GPU

Each row sets our work against a limit (what the plain Hugging Face model needs, weights frozen,
full logits) or a peer (TransformerLens 4.3), in turns in one process so that a noisy machine slows
both alike; a ratio is the median of the ratios of neighbouring runs. docs/speed.md explains them.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.patching import (
    generic_activation_patch,
    layer_head_vector_patch_setter,
    layer_pos_patch_setter,
)
from transformer_lens.tools.analysis.attribution_patching import (
    EdgeAttributionConfig,
    attribution_patch,
    cache_activation_and_gradient,
    faithfulness,
)
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from circuitkit.circuits.selection import select_top
from circuitkit.discovery import acdc, eap, eap_ig
from circuitkit.discovery.acdc import ACDC
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference
from circuitkit.model import SubjectModel
from circuitkit.prompts.columns import all_positions, by_position
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model

LENGTH, VOCAB = 16, 50257
RIGHT, WRONG = 11, 22
STEPS = 5
ONE_PAIR_STRIDE = 32
ACDC_EDGES = 200
CIRCUIT_EDGES = 1000
EDGE_STRIDE = 151  # of all 32,491 edges, those that are timed: a number that no axis divides


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    against: str
    reach: str
    theirs_s: float
    ours_s: float
    ratio: float  # ours / theirs


def save_model(directory: Path) -> Path:
    """Save a randomly initialised model of GPT-2 small's shape."""
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(directory)
    # The peer cannot load a directory without a tokenizer; no prompt meets this one.
    words = Tokenizer(WordLevel({"<none>": 0}, unk_token="<none>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<none>").save_pretrained(directory)
    return directory


def make_pairs(n: int, corrupted_pos: int) -> PromptPairs:
    """Return random pairs that differ at one position."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(0, VOCAB, (n, LENGTH), generator=generator)
    corrupted = clean.clone()
    corrupted[:, corrupted_pos] = torch.randint(0, VOCAB, (n,), generator=generator)
    rows = zip(clean.tolist(), corrupted.tolist(), strict=True)
    return tokenize_pairs([PromptPair(a, b, [RIGHT], [WRONG]) for a, b in rows])


def difference(logits: torch.Tensor) -> torch.Tensor:
    """Return the summed logit difference at the last position."""
    return (logits[:, -1, RIGHT] - logits[:, -1, WRONG]).sum()


class Bench:
    """Every contestant with the same weights."""

    def __init__(self, directory: Path, device: str) -> None:
        self.directory, self.device = directory, torch.device(device)
        self.metric = LogitDifference()
        self.model: SubjectModel = load_model(directory, device=device)
        plain = GPT2LMHeadModel.from_pretrained(directory).eval().requires_grad_(False)
        self.plain = plain.to(device)

    @cached_property
    def bridge(self) -> Any:
        """The peer's copy, with its own hooks."""
        bridge = TransformerBridge.boot_transformers(str(self.directory), device=str(self.device))
        bridge.eval()
        return bridge

    def tokens(self, pairs: PromptPairs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return clean and corrupted tokens where the models are."""
        return pairs.clean.to(self.device), pairs.corrupted.to(self.device)

    def forward(self, tokens: torch.Tensor) -> None:
        """Run the plain model once, all logits."""
        with torch.no_grad():
            self.plain(tokens, use_cache=False)

    def forward_backward(self, tokens: torch.Tensor) -> None:
        """Run the plain model and its backward pass to the embeddings, all logits."""
        embedded = self.plain.transformer.wte(tokens).requires_grad_()
        torch.autograd.grad(
            difference(self.plain(inputs_embeds=embedded, use_cache=False).logits), embedded
        )

    def seconds(self, work: Callable[[], object]) -> float:
        """Return how long one call takes."""
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def compare(
        self,
        name: str,
        against: str,
        reach: str,
        theirs: Callable[[], object],
        ours: Callable[[], object],
        *,
        rounds: int,
        theirs_is: float = 1.0,
        ours_is: float = 1.0,
        is_slow: bool = False,
    ) -> Row:
        """Return one row; `theirs_is` and `ours_is` say how many units of work a call does.

        Where theirs takes minutes (`is_slow`) it is not warmed up.
        """
        ours()  # warm up
        if not is_slow:
            theirs()
        first, mine, ratios = [self.seconds(theirs)], [], []
        for _ in range(rounds):
            mine.append(self.seconds(ours))
            first.append(self.seconds(theirs))
            around = (first[-1] + first[-2]) / 2 / theirs_is
            ratios.append(mine[-1] / ours_is / around)
        return Row(
            name,
            against,
            reach,
            statistics.median(first) / theirs_is,
            statistics.median(mine) / ours_is,
            statistics.median(ratios),
        )


def attribution(bench: Bench, rounds: int) -> Iterator[Callable[[], Row]]:
    """Yield EAP and EAP-IG against their limits, and EAP against the peer."""
    for pos in (5, 1):
        pairs = make_pairs(16, pos)
        clean, corrupted = bench.tokens(pairs)

        def limit(clean: torch.Tensor = clean, corrupted: torch.Tensor = corrupted) -> None:
            bench.forward(corrupted)
            bench.forward_backward(clean)

        def limit_ig(clean: torch.Tensor = clean) -> None:
            for _ in range(STEPS):
                bench.forward_backward(clean)
            bench.forward(clean)

        def ours(pairs: PromptPairs = pairs) -> None:
            eap.score_edges(bench.model, pairs, bench.metric)

        def ours_ig(pairs: PromptPairs = pairs) -> None:
            path = eap_ig.IntegrationPath("inputs", STEPS)
            eap_ig.score_edges(bench.model, pairs, bench.metric, path=path)

        where = f"pairs differ from position {pos} of {LENGTH} on"
        yield lambda limit=limit, ours=ours, where=where: bench.compare(
            f"EAP, all edges; {where}",
            "two forwards + one backward",
            "0.9 x",
            limit,
            ours,
            rounds=rounds,
        )
        yield lambda limit=limit_ig, ours=ours_ig, where=where: bench.compare(
            f"EAP-IG inputs, m = {STEPS}; {where}",
            f"{STEPS} x (forward + backward) + one forward",
            "0.9 x",
            limit,
            ours,
            rounds=max(3, rounds // 2),
        )
    pairs = make_pairs(16, 5)
    clean, corrupted = bench.tokens(pairs)
    yield lambda: bench.compare(
        "EAP, all edges, per pair",
        "TransformerLens attribution_patch",
        "",
        lambda: attribution_patch(
            bench.bridge,
            clean=clean[:1],
            corrupt=corrupted[:1],
            metric_fn=difference,
            config=EdgeAttributionConfig(granularity="edge"),
        ),
        lambda: eap.score_edges(bench.model, pairs, bench.metric),
        rounds=2,
        ours_is=len(pairs),
    )


def sweeps(bench: Bench, rounds: int) -> Iterator[Callable[[], Row]]:
    """Yield activation patching sweeps against the peer, denoising as it does."""
    pairs = make_pairs(8, 5)
    clean, corrupted = bench.tokens(pairs)
    n_layers, n_heads = 12, 12

    def peer(setter: Any, name: str, rows: pd.DataFrame) -> Callable[[], object]:
        def run() -> None:
            with torch.no_grad():
                _, cache = bench.bridge.run_with_cache(clean)
                generic_activation_patch(
                    bench.bridge, corrupted, cache, difference, setter, name, index_df=rows
                )

        return run

    def ours(site: str, columns: Any) -> Callable[[], object]:
        return lambda: patch_activations(
            bench.model,
            pairs,
            site_named(site),
            columns(pairs),
            metric=bench.metric,
            direction=Direction.DENOISING,
        )

    # every run of the peer is a whole forward pass, so some of them stand for all
    heads = pd.DataFrame({"layer": range(n_layers), "head": range(n_heads)})
    yield lambda: bench.compare(
        "head output patched, every head, per run",
        "TransformerLens patching",
        "1 / 2.5",
        peer(layer_head_vector_patch_setter, "z", heads),
        ours("heads", all_positions),
        rounds=max(2, rounds // 4),
        theirs_is=len(heads),
        ours_is=n_layers * n_heads,
    )
    places = pd.DataFrame({"layer": range(n_layers), "pos": range(2, 2 + n_layers)})
    yield lambda: bench.compare(
        "residual patched, layer x position, per run",
        "TransformerLens patching",
        "1 / 4",
        peer(layer_pos_patch_setter, "resid_pre", places),
        ours("resid", by_position),
        rounds=max(2, rounds // 4),
        theirs_is=len(places),
        ours_is=n_layers * LENGTH,
    )


def exact(bench: Bench, rounds: int) -> Iterator[Callable[[], Row]]:
    """Yield exact edges and circuit runs against plain forward passes."""
    for pos in (5, 1):
        pairs = make_pairs(8, pos)
        clean, _ = bench.tokens(pairs)
        edges = bench.model.graph.edge_names[::EDGE_STRIDE]
        yield lambda pairs=pairs, clean=clean, pos=pos, edges=edges: bench.compare(
            f"exact edge patching, per edge; pairs differ from position {pos} on",
            "one forward",
            "0.35 x",
            lambda: bench.forward(clean),
            lambda: measure_edges(bench.model, pairs, edges, bench.metric),
            rounds=max(2, rounds // 4),
            ours_is=len(edges),
        )
    pairs = make_pairs(16, 5)
    clean, corrupted = bench.tokens(pairs)
    circuit = select_top(eap.score_edges(bench.model, pairs, bench.metric), CIRCUIT_EDGES)
    n_circuits = 8

    def run(n: int) -> Callable[[], object]:
        return lambda: evaluate_circuits(
            bench.model, pairs, [circuit] * n, ablation=ResampleAblation(), metric=bench.metric
        )

    yield lambda: bench.compare(
        f"one circuit run of {CIRCUIT_EDGES} edges, per pair, ablated run included",
        "one forward",
        "2.0 x",
        lambda: bench.forward(clean),
        run(1),
        rounds=rounds,
    )
    yield lambda: bench.compare(
        f"the same, {n_circuits} circuits at once, per circuit",
        "one forward",
        "2.0 x",
        lambda: bench.forward(clean),
        run(n_circuits),
        rounds=rounds,
        ours_is=n_circuits,
    )


def searches(bench: Bench, rounds: int) -> Iterator[Callable[[], Row]]:
    """Yield the searches for one pair, per edge, against one forward pass each."""
    pairs = make_pairs(1, 1)
    clean, _ = bench.tokens(pairs)
    edges = bench.model.graph.edge_names[::ONE_PAIR_STRIDE]
    yield lambda: bench.compare(
        f"all exact edge effects of one pair, per edge (every {ONE_PAIR_STRIDE}th of "
        f"{bench.model.graph.n_edges:,})",
        "one forward",
        "0.35 x",
        lambda: bench.forward(clean),
        lambda: measure_edges(bench.model, pairs, edges, bench.metric),
        rounds=max(2, rounds // 4),
        ours_is=len(edges),
    )
    yield lambda: acdc_row(bench, pairs, clean)


def acdc_row(bench: Bench, pairs: PromptPairs, clean: torch.Tensor) -> Row:
    """Return a whole search against one forward pass for every edge that it tries.

    The threshold is the size of the 200th largest EAP score: a random model has no circuit.
    """
    scores = eap.score_edges(bench.model, pairs, bench.metric).by_edge().abs()
    method = ACDC(threshold=float(scores.sort(descending=True).values[ACDC_EDGES]))
    forwards = [_seconds(lambda: bench.forward(clean)) for _ in range(5)]
    n_tried = 0
    as_it_is = acdc.Search.settle

    def counting(search: acdc.Search, candidates: list[acdc.Candidate]) -> None:
        nonlocal n_tried
        n_tried += len(candidates)
        as_it_is(search, candidates)

    with mock.patch.object(acdc.Search, "settle", counting):
        start = time.perf_counter()
        found = method.score_edges(bench.model, pairs, bench.metric, Work())
        seconds = time.perf_counter() - start
    forwards += [_seconds(lambda: bench.forward(clean)) for _ in range(5)]
    limit = statistics.median(forwards) * n_tried
    return Row(
        f"ACDC of one pair, {n_tried:,} candidates, {method.own_circuit(found).n_edges:,} kept",
        "one forward for each candidate",
        "0.2 x",
        limit,
        seconds,
        seconds / limit,
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peer_circuits(bench: Bench, rounds: int) -> Iterator[Callable[[], Row]]:
    """Yield a circuit run against the peer's, which takes minutes."""
    pairs = make_pairs(16, 5)
    clean, corrupted = bench.tokens(pairs)
    circuit = select_top(eap.score_edges(bench.model, pairs, bench.metric), CIRCUIT_EDGES)

    def ours() -> None:
        evaluate_circuits(
            bench.model, pairs, [circuit], ablation=ResampleAblation(), metric=bench.metric
        )

    def peer() -> None:
        result = attribution_patch(
            bench.bridge,
            clean=clean[:1],
            corrupt=corrupted[:1],
            metric_fn=difference,
            config=EdgeAttributionConfig(granularity="edge"),
        )
        kept.append(result.top_edges(k=CIRCUIT_EDGES))

    kept: list[Any] = []

    def row() -> Row:
        peer()
        return bench.compare(
            f"one circuit run of {CIRCUIT_EDGES} edges, per pair",
            "TransformerLens faithfulness",
            "1 / 30",
            lambda: faithfulness(
                bench.bridge,
                clean=clean[:1],
                corrupt=corrupted[:1],
                metric_fn=difference,
                circuit=kept[0],
            ),
            ours,
            rounds=1,
            ours_is=len(pairs),
            is_slow=True,
        )

    yield row


def memory(directory: Path) -> Row:
    """Return peak memory of EAP above the model, against the peer on the same batch."""
    peaks = []
    for work in (_peer_memory, _our_memory):
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=work, args=(directory, queue))
        process.start()
        peaks.append(queue.get())
        process.join()
    theirs, ours = peaks
    return Row(
        "peak memory of EAP above the model, 32 pairs x 16 tokens (GB)",
        "TransformerLens, split q/k/v and per-head results",
        "1 / 3",
        theirs / 1e9,
        ours / 1e9,
        ours / theirs,
    )


def _our_memory(directory: Path, queue: Any) -> None:
    model, pairs, metric = load_model(directory), make_pairs(32, 5), LogitDifference()
    model.layers  # noqa: B018  folded weights belong to the model
    queue.put(_peak(lambda: eap.score_edges(model, pairs, metric, batch_size=32)))


def _peer_memory(directory: Path, queue: Any) -> None:
    bridge = TransformerBridge.boot_transformers(str(directory))
    bridge.eval()
    pairs = make_pairs(32, 5)
    bridge.set_use_split_qkv_input(True)
    bridge.set_use_attn_result(True)
    bridge.set_use_hook_mlp_in(True)
    ends = ("hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_mlp_in")
    ends += ("hook_mlp_out", "hook_embed")

    def work() -> None:
        def wanted(name: str) -> bool:
            return name.endswith(ends)

        clean = cache_activation_and_gradient(
            bridge, pairs.clean, difference, names_filter=wanted, compute_gradient=False
        )
        cache_activation_and_gradient(bridge, pairs.corrupted, difference, names_filter=wanted)
        del clean

    queue.put(_peak(work))


def _peak(work: Callable[[], object]) -> int:
    """Return how far resident memory rises above its start while the work runs, in bytes."""

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096

    start, highest, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            highest[0] = max(highest[0], resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return highest[0] - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--only",
        choices=["attribution", "sweeps", "exact", "searches", "peer_circuits", "memory"],
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        directory = save_model(Path(name))
        bench = Bench(directory, options.device)
        for part in (attribution, sweeps, exact, searches, peer_circuits):
            if options.only in (None, part.__name__):
                for measure in part(bench, options.rounds):
                    rows.append(measure())
                    if not options.json:
                        show(rows[-1])
        if options.only in (None, "memory") and options.device == "cpu":
            rows.append(memory(directory))
            if not options.json:
                show(rows[-1])
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))


def show(row: Row) -> None:
    """Print one row."""
    aim = f", aim {row.reach}" if row.reach else ""
    print(f"{row.ratio:8.4f} x  {row.name}\n            against {row.against}{aim}", flush=True)
    print(f"            {row.ours_s:.4f} against {row.theirs_s:.4f}", flush=True)


if __name__ == "__main__":
    main()
