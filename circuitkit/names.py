"""Everything that is chosen by name. Nothing is imported here, so that help opens at once.

A method or criterion is one line: its name, and the class to load when it is used.
"""

from enum import Enum

METHODS = {
    "eap": "circuitkit.discovery.eap:EAP",
    "eap-ig": "circuitkit.discovery.eap_ig:EAPIG",
    "eap-ig-activations": "circuitkit.discovery.eap_ig:ActivationsEAPIG",
    "clean-corrupted": "circuitkit.discovery.eap_ig:CleanCorrupted",
    "relp": "circuitkit.discovery.relp:RelP",
    "exact": "circuitkit.discovery.exact:ExactEdges",
    "exact-joint": "circuitkit.discovery.exact_joint:ExactJoint",
    "acdc": "circuitkit.discovery.acdc:ACDC",
    "edge-pruning": "circuitkit.discovery.edge_pruning:EdgePruning",
    "optimal-ablation": "circuitkit.discovery.optimal_ablation:OptimalAblation",
    "atp": "circuitkit.discovery.atp:AtP",
    "atp-star": "circuitkit.discovery.atp:AtPStar",
    "exact-nodes": "circuitkit.discovery.exact_nodes:ExactNodes",
    "information-flow": "circuitkit.discovery.information_flow:InformationFlow",
    "magnitude": "circuitkit.discovery.baselines:Magnitude",
    "random": "circuitkit.discovery.baselines:RandomScores",
}
DEFAULT_METHOD = "eap"
AUTO = "auto"  # in the place of a method: chosen, with all that goes with it
# What --set changes: the settings of each method that has any, their defaults and meaning.
SETTINGS = {
    "eap-ig": {
        "steps": ("5", "runs between both inputs over which gradients are averaged"),
        "rule": ("left", "where those runs lie: left (the ablated end included) or midpoint"),
    },
    "eap-ig-activations": {
        "steps": ("5", "runs along each activation's way over which gradients are averaged"),
        "rule": ("left", "where those runs lie: left (the clean end included) or midpoint"),
    },
    "relp": {
        "attention": ("gradient", "gradient through the softmax, or frozen patterns"),
    },
    "exact": {
        "direction": ("noising", "noising (is it needed?) or denoising (is it enough?)"),
    },
    "acdc": {
        "threshold": ("0.05", "what an edge must be worth, in the metric's unit; above 0"),
        "absolute": ("false", "keep what works against the behaviour too"),
        "whole": ("true", "try a query, key or value without any of its edges first"),
    },
    "edge-pruning": {
        "target_sparsity": ("0.9", "share of edges to close"),
        "steps": ("400", "steps of training at most"),
        "learning_rate": ("0.1", "of Adam, for the masks"),
        "multiplier_rate": ("0.1", "of Adam, for the weights of the target"),
        "raised_share": ("0.5", "share of the steps over which the target rises from 0"),
        "pairs_per_step": ("16", "prompt pairs of one step"),
        "patience": ("50", "steps without gain after which training ends"),
    },
    "optimal-ablation": {
        "steps": ("50", "steps of training for each sender's constant"),
        "learning_rate": ("0.2", "of Adam, in units of the sender's spread"),
    },
}

# In the order in which a verdict is read.
CRITERIA = {
    "ability": "circuitkit.validation.ability:Ability",
    "ability-share": "circuitkit.validation.ability:AbilityShare",
    "faithfulness": "circuitkit.validation.faithfulness:FaithfulnessCriterion",
    "edge-share": "circuitkit.validation.size:EdgeShare",
    "edges": "circuitkit.validation.size:EdgeCount",
    "node-faithfulness": "circuitkit.validation.faithfulness:NodeFaithfulness",
    "wang-faithfulness": "circuitkit.validation.wang:WangFaithfulness",
    "wang-mean": "circuitkit.validation.wang:WangMean",
    "completeness": "circuitkit.validation.completeness:Completeness",
    "minimality": "circuitkit.validation.minimality:Minimality",
    "hold-out": "circuitkit.validation.hold_out:HoldOut",
    "fresh-draw": "circuitkit.validation.fresh_draw:FreshDraw",
    "random": "circuitkit.validation.controls:RandomControl",
    "random-profile": "circuitkit.validation.controls:ProfileControl",
    "random-connected": "circuitkit.validation.controls:ConnectedControl",
    "shuffled": "circuitkit.validation.controls:ShuffledControl",
    "complement": "circuitkit.validation.controls:Complement",
    "sufficiency": "circuitkit.validation.against_random:Sufficiency",
    "necessity": "circuitkit.validation.against_random:PartialNecessity",
    "equivalence": "circuitkit.validation.equivalence:Equivalence",
    "equivalence-share": "circuitkit.validation.equivalence:ShareEquivalence",
    "independence": "circuitkit.validation.independence:Independence",
    "kl": "circuitkit.validation.divergence:KL",
    "agreement": "circuitkit.validation.divergence:TopAnswerAgreement",
    "ablation-spread": "circuitkit.validation.robustness:AblationSpread",
    "cpr": "circuitkit.validation.areas:CPR",
    "cmd": "circuitkit.validation.areas:CMD",
    "stability": "circuitkit.validation.stability:Stability",
    "rank-stability": "circuitkit.validation.stability:RankStability",
}

METRICS = (
    "logit-difference",
    "probability-difference",
    "log-probability",
    "logit-difference-per-token",
    "log-probability-per-token",
    "accuracy",
    "kl",
    "agreement",
)
ABLATIONS = ("mean", "zero", "resample", "token-mean")  # others are made from Python
SELECTIONS = ("top", "greedy")
UNITS = ("neurons", "features", "transcoder")  # that MLPs may be taken apart into
COLUMNS = ("role", "position", "all")
EDGE_COLUMNS = ("roles", "positions")  # at which the edges of a circuit may live
SITES = {
    "resid": "residual stream entering each block",
    "resid-mid": "residual stream between attention and MLP",
    "resid-post": "residual stream leaving each block",
    "attn": "attention output of each layer",
    "mlp": "MLP output of each layer",
    "heads": "output of each attention head",
    "z": "value-weighted sum of each head",
    "q": "query of each head",
    "k": "key of each head",
    "v": "value of each head",
    "pattern": "attention pattern of each head",
    "neurons": "neurons of each MLP, all at once",
}
DICTIONARY_SITES = (  # what sparse dictionaries read and write
    "resid pre", "resid mid", "resid post", "z", "attn out",
    "mlp normed", "mlp scaled", "mlp out",
)  # fmt: skip
DTYPES = ("auto", "float64", "float32", "bfloat16", "float16")
DICTIONARY_KINDS = {  # of dictionaries that are trained
    "topk": "an SAE: the k largest features of every token",
    "batchtopk": "an SAE: k features a token over a batch; then one threshold for all",
    "jumprelu": "an SAE: a trained threshold for each feature, and k is what L0 is drawn to",
    "transcoder": "features of what an MLP reads that rebuild what it writes, as batchtopk",
}
TRAINED_POSITIONS = {
    "content": "every token but the first of each prompt, and no padding",
    "all": "every token, and no padding",
}
EDITS = {  # of facts
    "r-rome": "a rank-one change of one MLP, with the mean key of the subject throughout",
    "rome": "the same with the bare prompt's key in part of it, as first published",
    "memit": "changes of this MLP and up to four before it, each a share of what is missing",
    "alphaedit": "the same, only in directions that keys of the text hardly use",
    "fine-tuning": "the same matrix trained on the prompt: the baseline",
}
BOS = ("auto", "always", "never")
ALIGN = ("last", "mean")
PLANTED_MODELS = (
    "planted-induction",
    "planted-predecessor",
    "planted-ioi",
    "planted-skip-trigram",
    "planted-facts",
    "planted-comparison",
)
DIFFICULTIES = ("plain", "decoys", "backup", "cancellation", "positions", "noise")
EXPORT_FORMATS = ("graphml", "cytoscape", "dot", "neuronpedia", "circuitsvis", "json")
OWN_FORMAT = "circuitkit"
PROMPT_FORMATS = (  # of prompt files; every other table is read by --columns
    OWN_FORMAT,
    "mib",
    "eap-ig",
    "acdc",
    "auto-circuit",
    "feature-circuits",
    "counterfact",
    "blimp",
)
REPORT_FORMATS = ("html", "md", "svg", "png", "pdf")


class Direction(Enum):
    """Which run is repaired or damaged."""

    NOISING = "noising"
    DENOISING = "denoising"


class MLPs(Enum):
    """What MLPs between senders and receivers do."""

    RECOMPUTED = "recomputed"
    FROZEN = "frozen"
