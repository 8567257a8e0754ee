"""Argument names in docstrings, in an attention-only model of four layers (Heimersheim, Janiak)."""

from circuitkit.circuits.graph import INPUT, LOGITS, ComponentGraph
from circuitkit.circuits.published.entry import Connection, Published

EDGES = Published(
    name="docstring-heimersheim",
    task="docstring",
    model="NeelNanda/Attn_Only_4L512W_C4_Code",
    graph=ComponentGraph(n_layers=4, n_heads=8, d_model=512, has_mlps=False),
    classes={
        "a0.h5": ("a0.h5",),
        "a1.h2": ("a1.h2",),
        "a1.h4": ("a1.h4",),
        "a2.h0": ("a2.h0",),
        "argument mover": ("a3.h0", "a3.h6"),
    },
    citation="Heimersheim, Janiak 2023. A circuit for Python docstrings in a 4-layer "
    "attention-only transformer. Alignment Forum",
    url="https://www.alignmentforum.org/posts/u6KXXmKFbXfWzoAXn",
    says="the 24 edges between components that its first author gave ACDC (Conmy et al. 2023, "
    "arXiv:2304.14997), for all positions together",
    connections=(
        Connection(INPUT, "a0.h5", "v"),
        Connection(INPUT, "a1.h2", "qk"),
        Connection("a0.h5", "a1.h2", "qk"),
        Connection(INPUT, "a1.h4", "v"),
        Connection("a0.h5", "a1.h4", "v"),
        Connection(INPUT, "a2.h0", "qk"),
        Connection("a0.h5", "a2.h0", "qk"),
        Connection("a1.h4", "a2.h0", "v"),
        Connection("a1.h4", "argument mover", "q"),
        Connection("a2.h0", "argument mover", "k"),
        Connection("a1.h2", "argument mover", "k"),
        Connection(INPUT, "argument mover", "v"),
        Connection("a0.h5", "argument mover", "v"),
        Connection("argument mover", LOGITS),
    ),
    sources=(
        "github.com/ArthurConmy/Automatic-Circuit-Discovery: acdc/docstring/utils.py",
        "github.com/UFO-101/auto-circuit: official_circuits/circuits/docstring_official.py, "
        "which leaves out input->a2.h0<k>",
    ),
)
