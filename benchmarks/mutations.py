"""Whether the tests notice: faults are planted one at a time, and the tests named beside them run.

    python benchmarks/mutations.py                # all; about ten seconds of CPU time each
    python benchmarks/mutations.py --only model   # those whose file or name holds a word

Each fault replaces one text in a temporary copy of the package. It is *killed* if a test fails, and
*survives* if all pass; the tests that killed are run once more without any fault, where they must
pass. Heavy libraries are imported once: every fault is tried in a fork of this process.
"""

import argparse
import compileall
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("circuitkit", "tasks", "tests", "examples", "circuits")
FILES = ("pyproject.toml", "circuitkit_pytest.py", "circuitkit_start.py", "README.md")
HEAVY = ("torch", "transformers", "transformer_lens", "scipy.stats", "sklearn.linear_model",
         "matplotlib", "pytest", "typer.testing", "networkx", "playwright.sync_api")  # fmt: skip
OURS = ("circuitkit", "circuitkit_pytest", "tests")
OPTIONS = ("--assert=plain", "-x", "-q", "-n0", "--no-header", "--tb=no", "-p", "no:cacheprovider")


@dataclass(frozen=True)
class Fault:
    """One text of a file of `circuitkit/`, what stands there instead, and who should notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


IDENTITIES = ("tests/test_identities.py",)
FAMILIES = ("tests/test_families.py", "-k", "gpt2 or llama-3 or gemma-2 or native-llama")
CONTRACT = ("tests/discovery/test_contract.py",)
JUDGES = "tests/validation/test_"
ROLES = "tests/interpretation/roles/test_"
SWEEPS = "tests/interpretation/sweeps/test_"
DIRECTIONS = "tests/interpretation/directions/test_"
WEIGHTS = "tests/interpretation/weights/test_"

FAULTS = (
    # model
    Fault("norm not centred", "model/norms.py",
          "            wide = wide - wide.mean(-1, keepdim=True)\n        return",
          "            wide = wide\n        return",
          ("tests/test_oracles.py", "-k", "eap_scores")),
    Fault("norm without its bias", "model/norms.py",
          "return bias if self.is_identity else bias + self.bias @ weight", "return bias",
          IDENTITIES),
    Fault("folded weight not centred", "model/norms.py",
          "folded -= folded.mean(0, keepdim=True)", "folded -= folded.mean(1, keepdim=True)",
          IDENTITIES),
    Fault("biases of a layer too few", "model/recording.py",
          "for earlier in range(layer + int(own_layer)):", "for earlier in range(layer):",
          IDENTITIES),
    Fault("MLP written one place too early", "model/recording.py",
          "out[graph.mlp_sender(layer)] = mlp", "out[graph.mlp_sender(layer) - 1] = mlp",
          IDENTITIES),
    Fault("attention without output bias", "model/attention.py",
          "torch.addmm(self.b_out, written", "torch.addmm(0 * self.b_out, written", IDENTITIES),
    Fault("groups of heads interleaved", "model/attention.py",
          "x.repeat_interleave(n_heads // x.shape[1], dim=1)",
          "x.repeat(1, n_heads // x.shape[1], 1, 1)",
          FAMILIES),
    Fault("norm behind attention left out", "model/attention.py",
          "z = z if self.post_norm is None else z * self.write_scale(z)", "pass", FAMILIES),
    Fault("scale of attention squared", "model/attention.py",
          "torch.matmul(q * self.scale,", "torch.matmul(q * self.scale**2,", IDENTITIES),
    Fault("soft cap without its factor", "model/attention.py",
          "torch.tanh(scores / self.softcap) * self.softcap", "torch.tanh(scores / self.softcap)",
          FAMILIES),
    Fault("scale of attention by layer", "model/layers.py",
          "return float(getattr(module, name))",
          "return float(getattr(module, name)) / (index + 1)", IDENTITIES),
    Fault("shared positions one too many", "model/runs.py",
          "n_shared = min(first, pairs.first_read)",
          "n_shared = min(first + 1, pairs.first_read)",
          ("tests/model/test_runs.py",)),
    Fault("relevance keeps live scales", "model/relevance.py",
          "return super().inverse_scale(x).detach()", "return super().inverse_scale(x)",
          ("tests/discovery/test_relp.py",)),
    # interventions
    Fault("base of a circuit without biases", "interventions/ablated_reads.py",
          "return self.ablated[:n_senders].sum(0) + bias", "return self.ablated[:n_senders].sum(0)",
          IDENTITIES),
    Fault("MLP reads the biases of earlier layers alone", "interventions/ablated_reads.py",
          "own_layer=not graph.parallel_attn_mlp)", "own_layer=False)", IDENTITIES),
    Fault("mean over prompts divided by one too few", "interventions/ablation.py",
          "start : start + len(slots)] / len(rows))",
          "start : start + len(slots)] / (len(rows) + 1))",
          ("tests/interventions/test_ablation.py",)),
    Fault("mean of the clean prompts", "interventions/ablation.py",
          "part = record(model, batch.corrupted_batch)[0].map(",
          "part = record(model, batch.clean_batch)[0].map(",
          ("tests/interventions/test_ablation.py",)),
    Fault("token mean counts padding", "interventions/ablation.py",
          "n_tokens = int(self.reference.corrupted_batch.mask.sum())",
          "n_tokens = self.reference.corrupted_batch.mask.numel()",
          ("tests/interventions/test_ablation.py",)),
    Fault("mean gain of the last batch alone", "interventions/repeated_circuits.py",
          "totals[start : start + len(chunk)] += rows.sum(1)",
          "totals[start : start + len(chunk)] = rows.sum(1)",
          ("tests/discovery/test_searches.py", *CONTRACT)),
    Fault("added values have the other sign", "interventions/edges.py",
          "away if noising else away.map(torch.neg)", "away.map(torch.neg) if noising else away",
          ("tests/interventions/test_edges.py",)),
    Fault("edge into the next head", "interventions/edges.py",
          "reads[read][rows, :, head] = new[read][alone.index(sender), :, :, head]",
          "reads[read][rows, :, head] = new[read][alone.index(sender), :, :, head - 1]",
          ("tests/interventions/test_edges.py",)),
    Fault("MLP edge continues at its own layer", "interventions/edges.py",
          "return self._continued(rest.repeat(n, 1, 1) + written, n, layer + 1)",
          "return self._continued(rest.repeat(n, 1, 1) + written, n, layer)",
          ("tests/interventions/test_edges.py",)),
    Fault("the gap has the other sign", "interventions/recorded.py",
          "self.gap = (clean - corrupted)", "self.gap = (corrupted - clean)", IDENTITIES),
    Fault("base and donor exchanged", "interventions/recorded.py",
          "return self.clean if self.noising else self.corrupted",
          "return self.corrupted if self.noising else self.clean", IDENTITIES),
    Fault("the patch starts one position late", "interventions/patching.py",
          "return min(int(positions.nonzero()[0]), self.last)",
          "return min(int(positions.nonzero()[0]) + 1, self.last)",
          ("tests/interventions/test_patching.py", "tests/interventions/test_sites.py")),
    Fault("kept changes are taken away", "interventions/kept_reads.py",
          "read = torch.bmm(kept.to(change.dtype), change)",
          "read = -torch.bmm(kept.to(change.dtype), change)", IDENTITIES),
    Fault("what is written is taken for its change", "interventions/kept_reads.py",
          "torch.sub(outputs, self.ablated[at], out", "torch.sub(outputs, 0, out", IDENTITIES),
    Fault("a circuit begins with what the first one computed", "interventions/kept_reads.py",
          "begun = [bisect_right(self.rows, row) - 1 for row in rows]", "begun = [0] * len(rows)",
          ("tests/interventions/test_run_circuit.py",)),
    Fault("receivers grouped by the first circuit alone", "interventions/kept_plan.py",
          "np.packbits(kept[:, receiver])", "np.packbits(kept[0, receiver])",
          ("tests/interventions/test_run_circuit.py", "tests/interventions/test_circuit_walk.py")),
    Fault("grouped queries read another group", "model/attention.py",
          "before + head * self.n_read_heads(READS[read]) // self.n_heads",
          "before + head % self.n_read_heads(READS[read])",
          ("tests/interventions/test_run_circuit.py",)),
    Fault("the last MLP is left out", "interventions/circuit_walk.py",
          "    if first < n_layers:\n", "    if first > n_layers:\n", IDENTITIES),
    # gradients
    Fault("the scale's own gradient added, not taken away", "gradients/receivers.py",
          "columns] -= (shared.T", "columns] += (shared.T",
          ("tests/test_oracles.py", "-k", "eap_scores")),
    Fault("scores of masked edges kept", "gradients/receivers.py",
          "torch.where(graph.edge_mask, self.total.cpu(), 0.0)", "self.total.cpu()", CONTRACT),
    Fault("places where an input changed alone", "gradients/receivers.py",
          "        changed |= (z != 0).flatten(2).any(-1)\n", "        pass\n",
          ("tests/test_oracles.py", "-k", "eap_scores")),
    Fault("projection with its bias", "gradients/receivers.py",
          "return (grad * (output - bias.unsqueeze(1))).sum(-1)", "return (grad * output).sum(-1)",
          ("tests/test_oracles.py", "-k", "eap_scores")),
    Fault("mean over batches, not pairs", "gradients/terms.py",
          "return total / len(pairs)", "return total / -(-len(pairs) // size)", IDENTITIES),
    Fault("soft circuit without biases", "gradients/soft_circuit.py",
          "base = self.ablated[:n_senders].sum(0) + bias", "base = self.ablated[:n_senders].sum(0)",
          ("tests/gradients",)),
    Fault("soft circuit keeps unlabelled places", "model/runs.py",
          "return (starts.unsqueeze(1) + labelled).flatten()",
          "return (starts.unsqueeze(1) + labelled - 1).flatten()", ("tests/gradients",)),
    # discovery
    Fault("ACDC keeps what is below the threshold", "discovery/acdc.py",
          "(effects.abs() if self.absolute else effects) >= self.threshold",
          "(effects.abs() if self.absolute else effects) < self.threshold",
          ("tests/discovery/test_searches.py", "-k", "acdc")),
    Fault("ACDC always takes magnitudes", "discovery/acdc.py",
          "(effects.abs() if self.absolute else effects)", "effects.abs()",
          ("tests/discovery/test_searches.py", "-k", "acdc")),
    Fault("GradDrop averages before magnitudes", "discovery/atp.py",
          "(by_held.abs().sum(0) /", "(by_held.sum(0).abs() /", ("tests/discovery/test_atp.py",)),
    Fault("the query is moved for the key", "discovery/atp.py",
          "self._pattern(layer, self.clean.at[q], new_k)", "self._pattern(layer, new_q, new_k)",
          ("tests/discovery/test_atp.py",)),
    Fault("magnitudes of squares", "discovery/baselines.py",
          "total += squares.sqrt().sum(1).cpu()", "total += squares.sum(1).cpu()",
          ("tests/discovery/test_baselines.py",)),
    Fault("left rule becomes right", "discovery/eap_ig.py",
          "(k + int(clean_end)) / self.steps", "(k + 1 - int(clean_end)) / self.steps",
          ("tests/discovery/test_eap_ig.py", "-m", "not slow")),
    Fault("integration over half of the way", "discovery/eap_ig.py",
          "torch.lerp(end, start, share)", "torch.lerp(end, start, share / 2)",
          ("tests/discovery/test_eap_ig.py",)),
    Fault("multipliers descend", "discovery/edge_pruning.py",
          '"maximize": True}', '"maximize": False}',
          ("tests/discovery/test_edge_pruning.py",)),
    Fault("the last effect in any state counts", "discovery/exact_joint.py",
          "best[chunk] = torch.where(is_larger, effects, best[chunk])", "best[chunk] = effects",
          ("tests/discovery/test_searches.py",)),
    Fault("proximity by squares", "discovery/information_flow.py",
          "(x - written).abs().sum(-1) for", "(x - written).pow(2).sum(-1) for",
          ("tests/discovery/test_information_flow.py",)),
    Fault("constants after the signed difference", "discovery/optimal_ablation.py",
          "(len(senders), -1))).abs().double().sum(1)",
          "(len(senders), -1))).double().sum(1)", ("tests/discovery/test_optimal_ablation.py",)),
    Fault("selection by signed scores", "circuits/selection.py",
          "    values = scores.by_edge() if signed else scores.by_edge().abs()\n    step",
          "    values = scores.by_edge()\n    step", ("tests/circuits/test_selection.py",)),
    Fault("dead ends at the input are kept", "circuits/selection.py",
          "*networkx.descendants(graph, INPUT)} & {",
          "*graph} & {",
          ("tests/circuits/test_selection.py", "tests/circuits")),
    # validation
    Fault("f not measured from the empty circuit", "validation/faithfulness.py",
          "(circuit.mean(axis=axis) - zero) / (full", "circuit.mean(axis=axis) / (full",
          (JUDGES + "faithfulness.py",)),
    Fault("mean of the pairs' ratios", "validation/faithfulness.py",
          "value=share_of_whole(values - empty, full - empty, clusters=clusters)",
          "value=mean_estimate(per_pair)",
          (JUDGES + "faithfulness.py",)),
    Fault("p without the circuit itself", "validation/against_random.py",
          "p=(k + 1) / (n + 1)", "p=k / n", (JUDGES + "criteria.py", JUDGES + "controls.py",
          "tests/validation")),
    Fault("random circuits must be strictly better", "validation/against_random.py",
          "(others >= own - TIE * max(1.0, abs(own)))", "(others > own + TIE * max(1.0, abs(own)))",
          ("tests/validation",)),
    Fault("CMD is signed", "validation/areas.py",
          "cmd = float(np.trapezoid(np.abs(1 - f), FRACTIONS))",
          "cmd = float(np.trapezoid(1 - f, FRACTIONS))", (JUDGES + "areas.py",)),
    Fault("completeness by the least gap", "validation/completeness.py",
          "int(gaps.argmax())", "int(gaps.argmin())", (JUDGES + "completeness.py",)),
    Fault("completeness chosen where it is measured", "validation/completeness.py",
          "list(sets.values()), choosing=True)", "list(sets.values()))",
          (JUDGES + "completeness.py",)),
    Fault("the better of two one-sided tests", "validation/equivalence.py",
          "return max(p_positive(side", "return min(p_positive(side",
          (JUDGES + "equivalence.py",)),
    Fault("ties count whole", "validation/equivalence.py",
          "<= scale, 0.5,", "<= scale, 1.0,", (JUDGES + "equivalence.py",)),
    Fault("Holm's steps ascend", "validation/minimality.py",
          "(len(p) - np.arange(len(p)))", "(1 + np.arange(len(p)))", (JUDGES + "minimality.py",)),
    Fault("another quantile of the reference", "validation/minimality.py",
          "(effects, REFERENCE_QUANTILE)", "(effects, 1 - REFERENCE_QUANTILE)",
          (JUDGES + "minimality.py",)),
    Fault("the set that exposes least", "validation/minimality.py",
          "if edge not in best or change > best[edge][0]:",
          "if edge not in best or change < best[edge][0]:", (JUDGES + "minimality.py",)),
    Fault("the best of the held-out kinds", "validation/hold_out.py",
          "worst = min(found, key", "worst = max(found, key", (JUDGES + "hold_out.py",)),
    Fault("an interval that touches supports", "statistics/bound.py",
          "below = self.min is not None and high < self.min",
          "below = self.min is not None and high <= self.min + 1e-3",
          ("tests/validation/test_verdict.py", "tests/validation/test_criterion.py",
           "tests/validation/test_criteria.py")),
    # interpretation
    Fault("similarity in spite of signs", "interpretation/comparison.py",
          "if min(x, y) > 0 or max(x, y) < 0:", "if x and y:",
          ("tests/interpretation/test_comparison.py", "-k", "similarity")),
    Fault("p of deals that overlap less", "interpretation/comparison.py",
          "(null >= value - 1e-9)", "(null < value - 1e-9)",
          ("tests/interpretation/test_comparison.py",)),
    Fault("destinations without a choice count", "interpretation/roles/attention.py",
          "here &= n_reach > n_drawn", "here &= n_reach >= n_drawn", (ROLES + "attention.py",)),
    Fault("null without its finite-population factor", "interpretation/roles/attention.py",
          "n_drawn * (1 - n_drawn / n_reach.clamp(min=1)) * spread", "n_drawn * spread",
          (ROLES + "attention.py",)),
    Fault("a backup need not matter", "interpretation/roles/causes.py",
          "takes_over &= then.mean(1) >= least_effect(case)", "takes_over &= True",
          (ROLES + "causes.py", ROLES + "claims.py")),
    Fault("opposers are movers", "interpretation/roles/functions.py",
          "(WRITER if effect >= 0 else OPPOSER)", "(WRITER if effect < 0 else OPPOSER)",
          (ROLES + "claims.py",)),
    Fault("write not centred before the lens", "interpretation/sweeps/logit_attribution.py",
          "write = (write - write.mean() if norm.is_centred else write) * norm.weight",
          "write = write * norm.weight", (SWEEPS + "logit_attribution.py",)),
    Fault("attribution over source, not destination", "interpretation/sweeps/logit_attribution.py",
          "pattern = run.kept[hook_points.pattern(layer)].transpose(1, 2)",
          "pattern = run.kept[hook_points.pattern(layer)].transpose(2, 3).transpose(1, 2)",
          (SWEEPS + "logit_attribution.py",)),
    Fault("the lens averages over all places", "interpretation/sweeps/logit_lens.py",
          "(value * mask).sum(1)[present] / mask.sum(1)[present]",
          "(value * mask).sum(1)[present] / mask.shape[1]", (SWEEPS + "logit_lens.py",)),
    Fault("patterns of padded places", "interpretation/sweeps/patterns.py",
          "real = slice(first[0], first[0] + n)", "real = slice(0, n)", (SWEEPS + "patterns.py",)),
    Fault("a resting head by one kind of rest", "interpretation/sweeps/patterns.py",
          "if first + own >= RESTING", "if max(first, own) >= RESTING", (SWEEPS + "patterns.py",)),
    Fault("windows one layer short", "interpretation/sweeps/tracing.py",
          "min(n, layer + (window + 1) // 2)", "min(n, layer + window // 2)",
          (SWEEPS + "tracing.py",)),
    Fault("keys are read as queries", "interpretation/weights/composition.py",
          'if read == "q" else FactoredMatrix(key, query.mT)',
          'if read == "q" else FactoredMatrix(query, key.mT)', (WEIGHTS + "composition.py",)),
    Fault("ties count for a token", "interpretation/weights/products.py",
          "((block >= own).sum(1) <= k)", "((block > own).sum(1) < k)", (WEIGHTS + "products.py",)),
    Fault("probes judged without their controls", "interpretation/directions/probes.py",
          "return self.is_above_chance and self.accuracy.low > memorised",
          "return self.is_above_chance", (DIRECTIONS + "probes.py",)),
    Fault("chance is the share of one label", "interpretation/directions/probes.py",
          "chance=max(share, 1 - share)", "chance=share", (DIRECTIONS + "probes.py",)),
)  # fmt: skip


def copy_of_the_package(directory: Path) -> Path:
    """Copy what the tests need; `circuitkit.tasks` lies in its own folder, as when installed."""
    for name in COPIED:
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, directory / name)
    shutil.copytree(directory / "tasks", directory / "circuitkit" / "tasks")
    return directory


def load_what_they_import(directory: Path) -> None:
    """Import all that the copy imports, and forget the copy: forks begin with the libraries."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in HEAVY:
        importlib.import_module(name)
    compileall.compile_dir(directory, quiet=2)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(directory))
    for name in ("circuitkit.cli.app", "tests.conftest", "tests.families"):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    importlib.invalidate_caches()


def run_tests(directory: Path, tests: tuple[str, ...], log: Path) -> int:
    """Run tests on the copy in a fork, and return pytest's exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        with log.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os.chdir(directory)
        code = int(importlib.import_module("pytest").main([*OPTIONS, *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)


def killer(log: Path) -> str:
    """Return the first test that failed, or how the run ended."""
    lines = log.read_text().splitlines()
    named = [line.split()[1] for line in lines if line.startswith(("FAILED", "ERROR "))]
    return named[0] if named else (lines[-1] if lines else "no output")


def tried(fault: Fault, directory: Path) -> tuple[str, str]:
    """Plant a fault, run its tests, take it out again; return what came of it and who noticed."""
    path = directory / "circuitkit" / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        return "not planted", f"{text.count(fault.old)} places of {fault.old!r}"
    path.write_text(text.replace(fault.old, fault.new))
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    log = directory / "log"
    try:
        code = run_tests(directory, fault.tests, log)
    finally:
        path.write_text(text)
    if code == 0:
        return "survived", ""
    return ("killed" if code == 1 else f"exit {code}"), killer(log)


def main() -> None:
    """Try the faults and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a word of the file or the name")
    parser.add_argument("--part", default="1/1", help="2/3: the second of three parts")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first n of them")
    parser.add_argument("--show", action="store_true", help="what pytest printed, too")
    words = parser.parse_args()
    part, n_parts = (int(number) for number in words.part.split("/"))
    chosen = [f for f in FAULTS if words.only in f"{f.file} {f.name}"][part - 1 :: n_parts]
    chosen = chosen[words.skip :]
    counts: dict[str, int] = {}
    killers: set[str] = set()
    with tempfile.TemporaryDirectory() as temporary:
        directory = copy_of_the_package(Path(temporary))
        load_what_they_import(directory)
        print("| file | fault | outcome | noticed by |\n|---|---|---|---|")
        for fault in chosen:
            start = time.monotonic()
            outcome, by = tried(fault, directory)
            counts[outcome] = counts.get(outcome, 0) + 1
            killers |= {by} if outcome == "killed" else set()
            if words.show:
                print((directory / "log").read_text(), file=sys.stderr)
            seconds = time.monotonic() - start
            print(f"| `{fault.file}` | {fault.name} | {outcome} | {by} |", flush=True)
            print(f"{seconds:.0f} s: {fault.name}: {outcome}", file=sys.stderr, flush=True)
        print("\n" + ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())))
        if killers:
            code = run_tests(directory, tuple(sorted(killers)), directory / "log")
            print("without a fault, the tests that noticed " + ("pass" if code == 0 else "FAIL"))


if __name__ == "__main__":
    main()
