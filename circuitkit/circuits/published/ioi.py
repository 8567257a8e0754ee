"""Indirect object identification in GPT-2 small: 26 heads in seven classes (Wang et al. 2022)."""

from dataclasses import replace

from circuitkit.circuits.graph import INPUT, LOGITS, ComponentGraph
from circuitkit.circuits.published.entry import Connection, Published

GPT2_SMALL = ComponentGraph(n_layers=12, n_heads=12, d_model=768)
CITATION = (
    "Wang, Variengien, Conmy, Shlegeris, Steinhardt 2022. Interpretability in the Wild: a Circuit "
    "for Indirect Object Identification in GPT-2 Small. arXiv:2211.00593"
)
URL = "https://arxiv.org/abs/2211.00593"
SOURCES = (
    "github.com/ArthurConmy/Automatic-Circuit-Discovery: acdc/ioi/utils.py",
    "github.com/UFO-101/auto-circuit: official_circuits/circuits/ioi_official.py",
)
HEADS = {
    "name mover": ("a9.h9", "a10.h0", "a9.h6"),
    "backup name mover": (
        *("a10.h10", "a10.h6", "a10.h2", "a10.h1"),
        *("a11.h2", "a9.h7", "a9.h0", "a11.h9"),
    ),
    "negative name mover": ("a10.h7", "a11.h10"),
    "S-inhibition": ("a7.h3", "a7.h9", "a8.h6", "a8.h10"),
    "induction": ("a5.h5", "a5.h8", "a5.h9", "a6.h9"),
    "duplicate token": ("a0.h1", "a0.h10", "a3.h0"),
    "previous token": ("a2.h2", "a4.h11"),
}
CLASSES = {**HEADS, "MLP": tuple(f"m{layer}" for layer in range(12))}
IN_THE_END = ("name mover", "backup name mover", "negative name mover")

NODES = Published(
    name="ioi-wang",
    task="ioi",
    model="gpt2",
    graph=GPT2_SMALL,
    classes=CLASSES,
    citation=CITATION,
    url=URL,
    says="the 26 heads; the paper knocks out heads and lets all MLPs compute, so all twelve are "
    "in; every edge between these, the input and the logits",
    sources=SOURCES,
)
EDGES = replace(
    NODES,
    name="ioi-wang-edges",
    says="between heads, and between heads and the input or the logits, only the connections of "
    "classes in the paper's figure 2, as ACDC (Conmy et al. 2023, arXiv:2304.14997) wrote them "
    "down by query, key and value; every edge of the 26 heads, the input and the logits with an "
    "MLP",
    connections=(
        Connection(INPUT, "previous token"),
        Connection(INPUT, "duplicate token"),
        Connection(INPUT, "S-inhibition", "q"),
        *(Connection(INPUT, end, "kv") for end in IN_THE_END),
        Connection("previous token", "induction", "kv"),
        Connection("induction", "S-inhibition", "kv"),
        Connection("duplicate token", "S-inhibition", "kv"),
        *(Connection("S-inhibition", end, "q") for end in IN_THE_END),
        *(Connection(end, LOGITS) for end in IN_THE_END),
        Connection(INPUT, LOGITS),
    ),
    free_mlps=True,
)
