"""Greater-than in GPT-2 small: heads that bring the year, and MLPs that compare (Hanna et al.)."""

from dataclasses import replace

from circuitkit.circuits.graph import INPUT, LOGITS
from circuitkit.circuits.published.entry import Connection, Published
from circuitkit.circuits.published.ioi import GPT2_SMALL

CITATION = (
    "Hanna, Liu, Variengien 2023. How does GPT-2 compute greater-than?: Interpreting mathematical "
    "abilities in a pre-trained language model. arXiv:2305.00586"
)
URL = "https://arxiv.org/abs/2305.00586"
SOURCES = (
    "github.com/hannamw/gpt2-greater-than: circuit_discovery.py",
    "github.com/UFO-101/auto-circuit: official_circuits/circuits/greaterthan_official.py, which "
    "has a6.h1, and neither a5.h1 nor a8.h8",
)
CLASSES = {
    "early head": ("a0.h3", "a0.h5"),
    "early head into MLPs": ("a0.h1",),
    "early MLP": ("m0", "m1", "m2", "m3"),
    "year head": ("a5.h1", "a5.h5", "a6.h9", "a7.h10", "a8.h8", "a8.h11", "a9.h1"),
    "late MLP": ("m8", "m9", "m10", "m11"),
}
EARLY = ("early head", "early head into MLPs", "early MLP")

NODES = Published(
    name="greater-than-hanna",
    task="greater-than",
    model="gpt2",
    graph=GPT2_SMALL,
    classes=CLASSES,
    citation=CITATION,
    url=URL,
    says="the ten heads and eight MLPs of the paper's code; every edge between these, the input "
    "and the logits. a6.h1 is left out: the authors' code for the paper does not have it, their "
    "later script and auto-circuit do",
    sources=SOURCES,
)
EDGES = replace(
    NODES,
    name="greater-than-hanna-edges",
    says="the connections that the paper's code patches: early parts into the year heads, year "
    "heads into the late MLPs and the logits, MLPs of a stage into later ones of it. The paper "
    "leaves all that feeds the year heads' queries alone; here queries read the early parts, as "
    "keys and values do",
    connections=(
        *(Connection(INPUT, early) for early in EARLY),
        Connection("early head into MLPs", "early MLP"),
        Connection("early MLP", "early MLP"),
        *(Connection(early, "year head") for early in EARLY),
        Connection("year head", "late MLP"),
        Connection("year head", LOGITS),
        Connection("late MLP", "late MLP"),
        Connection("late MLP", LOGITS),
    ),
)
