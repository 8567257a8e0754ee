"""Time of an attribution graph of a 16-token prompt on a GPT-2-small-shaped model.

    python benchmarks/attribution.py                     ours
    python benchmarks/attribution.py --peer PYTHON       and circuit-tracer, in the environment of
                                                         that interpreter, on the same tensors

Weights are random; the transcoders are per layer and 16 times as wide as the stream, top-k so that
activity is that of trained ones. Both times are of the graph alone: the run, every edge between
active features, errors, tokens and logits. Loading, pruning and saving are left out. The peer's
edges are read back and compared with ours.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from circuitkit.attribution.attribute import GraphSettings, attribute
from circuitkit.attribution.files import read_transcoders
from circuitkit.model import from_hf

N_TOKENS, WIDER, K = 16, 16, 32

PEER = """
import sys, time
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from transformer_lens import HookedTransformerConfig
from transformers import GPT2Config, GPT2LMHeadModel
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from circuit_tracer import attribute
from circuit_tracer.replacement_model.replacement_model_transformerlens import (
    TransformerLensReplacementModel as Model,
)
from circuit_tracer.transcoder.activation_functions import TopK
from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder, TranscoderSet

folder, k = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
hf = GPT2LMHeadModel.from_pretrained(folder / "model")
c = hf.config
cfg = HookedTransformerConfig(
    n_layers=c.n_layer, d_model=c.n_embd, n_ctx=c.n_positions, d_head=c.n_embd // c.n_head,
    n_heads=c.n_head, d_mlp=4 * c.n_embd, d_vocab=c.vocab_size, act_fn="gelu_new",
    normalization_type="LN", eps=c.layer_norm_epsilon, device="cpu",
)
sets = {}
for layer in range(c.n_layer):
    found = load_file(folder / f"layer_{layer}.safetensors")
    n, d = found["W_enc"].shape
    one = SingleLayerTranscoder(d, n, TopK(k), layer)
    one.load_state_dict(found, strict=False)
    sets[layer] = one.requires_grad_(False)
sets = TranscoderSet(sets, "mlp.hook_in", "mlp.hook_out")
class Tokenizer:
    all_special_ids, bos_token_id, pad_token_id, eos_token_id = [0], 0, 0, 0
    padding_side, vocab_size = "right", c.vocab_size
    def decode(self, ids): return str(ids)
    def __len__(self): return c.vocab_size
model = Model(cfg, tokenizer=None)
model.load_and_process_state_dict(
    convert_gpt2_weights(hf, cfg), fold_ln=False, center_writing_weights=False,
    center_unembed=False, fold_value_biases=False,
)
model._configure_replacement_model(sets)
model.tokenizer = Tokenizer()
tokens = load_file(folder / "tokens.safetensors")["tokens"]
start = time.perf_counter()
graph = attribute(tokens, model, batch_size=int(sys.argv[3]))
seconds = time.perf_counter() - start
save_file({"adjacency": graph.adjacency_matrix.contiguous(),
           "active": graph.active_features.contiguous()}, folder / "peer.safetensors")
print("seconds", seconds)
"""


def write_material(folder: Path, n_layers: int, k: int) -> None:
    """Write a random model, its transcoders and a prompt."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=n_layers, vocab_size=5000, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config).eval()
    for name, p in model.named_parameters():  # biases of size, as trained models have
        if name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.05)
    model.save_pretrained(folder / "model")
    d, n = config.n_embd, WIDER * config.n_embd
    for layer in range(n_layers):
        tensors = {
            "W_enc": torch.randn(n, d) / d**0.5,
            "b_enc": torch.randn(n) * 0.1,
            "W_dec": torch.randn(n, d) / d**0.5 * 0.1,
            "b_dec": torch.randn(d) * 0.1,
        }
        save_file(tensors, folder / f"layer_{layer}.safetensors")
    (folder / "config.yaml").write_text(
        "model_name: random\nmodel_kind: transcoder_set\nfeature_input_hook: mlp.hook_in\n"
        f"feature_output_hook: mlp.hook_out\nactivation: topk\nk: {k}\n"
    )
    tokens = torch.randint(1, config.vocab_size, (N_TOKENS,))
    tokens[0] = 0
    save_file({"tokens": tokens}, folder / "tokens.safetensors")


def time_ours(folder: Path) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Return our seconds, our edges, and the active features."""
    model = from_hf(GPT2LMHeadModel.from_pretrained(folder / "model").eval())
    transcoders = read_transcoders(folder)
    tokens = load_file(folder / "tokens.safetensors")["tokens"].tolist()
    _ = model.layers, model.final_norm
    start = time.perf_counter()
    graph = attribute(model, tokens, transcoders, GraphSettings(memory=10**12))
    seconds = time.perf_counter() - start
    print(f"ours             {seconds:7.2f} s   {graph!r}")
    return seconds, graph.matrix(), graph.active.index


def main() -> None:
    """Time ours and, if asked for, the peer's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help="an interpreter that can import circuit_tracer")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--k", type=int, default=K)
    parser.add_argument("--batch", type=int, default=512, help="of the peer; 512 is its default")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_material(folder, asked.layers, asked.k)
        ours, matrix, active = time_ours(folder)
        if not asked.peer:
            return
        arguments = [asked.peer, "-c", PEER, str(folder), str(asked.k), str(asked.batch)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        theirs = float(done.stdout.split("seconds")[-1])
        found = load_file(folder / "peer.safetensors")
        print(f"circuit-tracer   {theirs:7.2f} s   ratio {ours / theirs:.3f}")
        print(compared(found["adjacency"], found["active"], matrix, active))


def compared(
    theirs: torch.Tensor, their_features: torch.Tensor, ours: torch.Tensor, features: torch.Tensor
) -> str:
    """Return how far apart the edges are between features that both have active, and others."""
    place = {tuple(each): i for i, each in enumerate(their_features.tolist())}
    common = [(place[k], i) for i, k in enumerate(map(tuple, features.tolist())) if k in place]
    rest = range(len(ours) - len(features))
    common += [(len(their_features) + i, len(features) + i) for i in rest]
    left, right = (torch.tensor(each) for each in zip(*common, strict=True))
    gap = (theirs[left][:, left] - ours[right][:, right]).abs().max() / ours.abs().max()
    n = len(common) - len(rest)
    return (
        f"{n} of {len(features)} features active in both (top-k at single precision); largest gap "
        f"of an edge over the largest edge: {float(gap):.1e}"
    )


if __name__ == "__main__":
    main()
