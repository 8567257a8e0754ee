"""What every identifier that a user meets means: one plain line each, and where to read more.

    kind      word, question, criterion, method, metric, ablation, role, choice, place, dictionary,
              edit, planted
    line      the start of a sentence, without its capital and its full stop
    more      a page of docs/, perhaps with a heading

One table for `circuitkit explain NAME`, the help of options, docs/glossary.md and the report. Like
names.py it imports nothing, so that all of them open at once. A criterion's `measures` and a
method's `summary` are taken from here; what is exact stands in the file that computes it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from circuitkit import names
from circuitkit.errors import GlossaryError

# Pages to which several names lead.
PAIRS = "concepts.md#task-and-prompt-pairs"
PARTS = "concepts.md#components-and-edges"
EFFECT = "concepts.md#effect-noising-and-denoising"
BEGINNING = "special-tokens.md#the-beginning-of-a-sequence"
UNEQUAL = "files.md#prompts-of-unequal-length"
SELECTION = "methods/selection.md"
SAID = "concepts.md#verdict"
DICTIONARIES = "dictionaries.md"
TRYING = "dictionaries.md#trying-one"
# The kinds in the order in which they are listed, and what they are called together.
KINDS = {
    "word": "Words",
    "question": "Questions that a verdict answers",
    "criterion": "Criteria",
    "method": "Methods that score edges",
    "metric": "Metrics",
    "ablation": "Ablations",
    "units": "Units that MLPs are taken apart into",
    "role": "Roles of components",
    "format": "Formats of prompt files",
    "choice": "Other choices of options",
    "place": "Places that are patched",
    "dictionary": "Kinds of dictionaries, and tokens that they are trained on",
    "edit": "Ways to edit a fact",
    "planted": "Planted models and difficulties",
}
CRITERIA = {
    "ability": "gain of the clean prompt over the corrupted one",
    "ability-share": "share of prompts on which the model does the task",
    "faithfulness": "share of the behaviour that the circuit keeps",
    "edge-share": "share of all edges that the circuit holds",
    "edges": "number of edges",
    "node-faithfulness": "share kept by all edges between the circuit's components",
    "wang-faithfulness": "distance to the model, whichever way",
    "wang-mean": "distance to the model under mean ablation",
    "completeness": "largest difference from the model when both lose the same parts",
    "minimality": "share of its edges that matter more than a random edge",
    "hold-out": "lowest share kept on other prompts, wordings and answers",
    "fresh-draw": "share kept on prompts drawn by the circuit's own digest",
    "random": "lead over the best random circuit of the same size",
    "random-profile": "lead over the best random circuit with the same layers",
    "random-connected": "lead over the best circuit of random whole paths",
    "shuffled": "lead over the best circuit found with exchanged answers",
    "complement": "share of the behaviour that is left without the circuit",
    "sufficiency": "share of random circuits that are as faithful",
    "necessity": "share of random circuits that part the model as cleanly",
    "equivalence": "mean difference from the model",
    "equivalence-share": "share of prompts on which the circuit beats the model",
    "independence": "p-value: small if edges outside the circuit still carry the task",
    "kl": "distance of its next-token probabilities from the model's, in nats",
    "agreement": "share of prompts with the model's most likely token",
    "ablation-spread": "how far the share kept moves with the ablation",
    "cpr": "mean share kept by circuits of all sizes; the best is about 1",
    "cmd": "mean distance from the model of circuits of all sizes; the best is 0",
    "stability": "overlap with circuits found again on other samples",
    "rank-stability": "agreement of edge ranks found again on other samples",
}
METHODS = {
    "eap": "gradient on the clean run times change",
    "eap-ig": "gradients averaged between both inputs, times change",
    "eap-ig-activations": "gradients averaged along each activation's own way, times change",
    "clean-corrupted": "gradients of the clean and the corrupted run averaged, times change",
    "relp": "relevance coefficients on the clean run times change",
    "exact": "measured effect of each edge alone",
    "exact-joint": "measured effect of each edge, the largest while any one component is knocked "
    "out",
    "acdc": "edges dropped one by one from the logits back, if little is lost",
    "edge-pruning": "a trained mask on every edge, most of them closed",
    "optimal-ablation": "each edge replaced alone by the constant that its sender can best be "
    "replaced by",
    "atp": "nodes by gradient times change; edges between the best nodes",
    "atp-star": "atp with exact softmax and dropped gradients; edges between the best nodes",
    "exact-nodes": "measured effect of each node alone; edges between the best nodes",
    "information-flow": "each sender's share of what a receiver reads; no metric",
    "magnitude": "how much the sender's write changes, whoever reads it",
    "random": "drawn at random: the control",
}
METHOD_PAGES = {
    "eap-ig-activations": "eap-ig",
    "clean-corrupted": "eap-ig",
    "atp-star": "atp",
    "exact-nodes": "nodes",
    "magnitude": "baselines",
    "random": "baselines",
}
QUESTIONS = {
    "able": "Can the model do it?",
    "enough": "Is the circuit enough?",
    "all": "Is it all of it?",
    "needed": "Is all of it needed?",
    "luck": "Could it be luck?",
    "elsewhere": "Does it hold elsewhere?",
}
METRICS = {
    "logit-difference": "logit of the answers minus that of the wrong answers, each their mean",
    "probability-difference": "probability of all answers minus that of all wrong answers",
    "log-probability": "log of the summed probability of the answers, in nats",
    "logit-difference-per-token": "the difference, of the mean over the tokens of each answer",
    "log-probability-per-token": "the log-probability, of the mean over the tokens of each answer",
    "accuracy": "1 where the most likely token of the whole vocabulary is an answer, else 0",
    "kl": "distance of the next-token probabilities from those of the clean run, in nats",
    "agreement": "1 where the most likely token is that of the clean run, else 0",
}
UNITS = {
    "neurons": "neurons: entries of what its last projection is given, each a sender and receiver",
    "features": "features of SAEs of what it writes: senders; the MLP reads for all of them",
    "transcoder": "features of transcoders, which read what it reads: senders and receivers",
}
ABLATIONS = {
    "mean": "mean over reference prompts of the same template and position",
    "zero": "nothing is written, which later layers may never have met",
    "resample": "what the sender writes on the corrupted prompt of the pair",
    "token-mean": "mean over all real tokens of the reference prompts",
}
ROLES = {
    "mover": "writes into the logits for the answer, raising what it looks at",
    "suppressor": "helps the answer by lowering what it looks at in the logits",
    "writer": "writes into the logits for the answer, but not what it looks at",
    "copy-suppression": "writes into the logits against the answer, lowering what it looks at",
    "opposer": "writes into the logits against the answer, but not by what it looks at",
    "inhibition": "turns a later head away from the wrong answers",
    "query-supplier": "tells a later head what to look for",
    "key-supplier": "marks a place for a later head to find",
    "value-supplier": "puts down what a later head fetches",
    "mlp-supplier": "feeds a later MLP",
    "mixer-supplier": "feeds a later layer that mixes positions without heads",
    "backup": "does more when another component is gone, and little before",
    "jointly-needed": "does nothing alone that is shown, and is needed where nothing stands in",
    "idle": "is not shown to matter, alone, through an edge or together with others",
    "previous-token": "looks at the token before",
    "duplicate-token": "looks at earlier places of the same token",
    "induction": "looks at what followed earlier places of the same token",
    "answer": "looks at tokens that are right answers",
    "wrong-answer": "looks at tokens that are wrong answers",
    "at-ROLE": "looks at the tokens of a role of the prompt: at-S2 is the role S2",
    "positional": "looks at the same place whatever tokens stand there",
    "first-token": "looks at the first token, where heads rest",
    "self": "looks at its own place, where heads rest",
}
CHOICES = {
    "top": ("the edges of the best scores, wherever they lead", SELECTION),
    "greedy": ("the best edges that lead on to the logits, one by one", SELECTION),
    "role": ("positions by the role of their token, the rest together", SELECTION),
    "position": ("each token position by itself", SELECTION),
    "all": (
        "all token positions together; as a method: a table of every method",
        "methods/README.md",
    ),
    "noising": ("corrupted values into the clean run: is it needed?", EFFECT),
    "denoising": ("clean values into the corrupted run: is it enough?", EFFECT),
    "recomputed": ("MLPs between sender and receiver see the patch", "methods/path-patching.md"),
    "frozen": ("MLPs keep their clean values, as other heads do", "methods/path-patching.md"),
    "auto": (
        "text gets the BOS unless it begins with it",
        BEGINNING,
    ),
    "always": (
        "text gets the BOS unless it begins with it; a tokenizer without one is refused",
        BEGINNING,
    ),
    "never": ("no BOS is added; one that the text begins with stays", BEGINNING),
    "last": ("the last token of a span stands for one of another length", UNEQUAL),
    "mean": ("the mean over a span stands for one of another length", UNEQUAL),
}
FORMATS = {
    "circuitkit": "JSON Lines of clean, corrupted, answers: the format of its own",
    "mib": "MIB's IOI, arithmetic, MCQA and ARC, with a counterfactual as corrupted prompt",
    "eap-ig": "EAP-IG's tables of clean, corrupted, correct_idx and incorrect_idx",
    "acdc": "ACDC's clean_prompt, corrupt_prompt, correct_answers and wrong_answers",
    "auto-circuit": "auto-circuit's JSON of prompts: clean, corrupt, answers, wrong_answers",
    "feature-circuits": "clean_prefix, patch_prefix, clean_answer and patch_answer",
    "counterfact": "CounterFact's facts, each against another of the same relation",
    "blimp": "BLiMP's minimal sentences, up to the word that decides",
}
CHOSEN = {  # what stands in the place of a method
    names.AUTO: (
        "EAP-IG, or what fits the time; ablation, size and trimming are chosen with it",
        "methods/selection.md#what-run-chooses",
    ),
}
PLANTED = {
    "planted-induction": "ant bee cat ... bee -> cat: what followed the same token before",
    "planted-predecessor": "ant bee cat ... cat -> bee: what stood before the same token",
    "planted-ioi": "Ada and Ben spoke Ben gave to -> Ada: the name that is not repeated",
    "planted-skip-trigram": "keep them well in -> mind: two tokens apart foretell a third",
    "planted-facts": "the zorb old its colour -> red: a fact kept in an MLP",
    "planted-comparison": "4 2 vs 3 9 ? -> larger: two numbers compared",
    "plain": "a planted model with nothing added",
    "decoys": "a planted model with heads and neurons that are active but irrelevant",
    "cancellation": "a planted model with a head that two others feed with opposite signs",
    "positions": "a planted model whose mover's work is split between heads by position",
    "noise": "a planted model with Gaussian noise on every weight",
}
WORDS = {
    "align": ("the rule by which spans of unequal length stand for each other", UNEQUAL),
    "assistant-prefix": (
        "what a chat template writes to ask the assistant to speak",
        "chat.md#roles",
    ),
    "chat-template": ("what writes messages out as the text that a model reads", "chat.md"),
    "instruction-end": (
        "what a chat template writes behind the last words of the user",
        "chat.md#roles",
    ),
    "ablation": ("the value given to what is taken out of a run", "concepts.md#ablation"),
    "baseline": ("how the whole model does on the task", "concepts.md#baseline"),
    "BOS": ("the token with which a tokenizer lets texts begin", BEGINNING),
    "bound": (
        "what a criterion's value must reach, fixed before it is measured",
        "validation.md#thresholds",
    ),
    "circuit": (
        "a set of edges of the model's graph, and a claim about them",
        "concepts.md#circuit",
    ),
    "clean": ("the prompt that shows the behaviour, and the run on it", PAIRS),
    "cluster": (
        "prompt pairs that were drawn together and say one thing: they count as one sample",
        "validation.md#what-counts-as-one",
    ),
    "component": ("what writes to the residual stream: input, a head, an MLP", PARTS),
    "contract": ("a claim about a circuit that CI judges again", "contracts.md"),
    "corrupted": ("the prompt that lacks what the behaviour depends on, and the run on it", PAIRS),
    "criterion": ("one judgement on a circuit: a value, held against a bound", "criteria.md"),
    "dead-end": (
        "an edge on no path from the input to the logits",
        "methods/selection.md#dead-ends",
    ),
    "digest": (
        "a short fingerprint of weights, prompts or a file",
        "files.md#the-digest-of-the-weights",
    ),
    "discovery": ("the prompt pairs that find a circuit", PAIRS),
    "dead-feature": ("a feature of a dictionary that is 0 on every token that was read", TRYING),
    "dictionary": (
        "directions that activations are sparse sums of: an SAE or a transcoder",
        DICTIONARIES,
    ),
    "edge": ("a wire from what a component writes to what a later one reads", PARTS),
    "effect": ("a measured change of the metric; positive: it supports the behaviour", EFFECT),
    "explained-variance": (
        "share of what varies at a place that a dictionary's reconstruction holds",
        TRYING,
    ),
    "gap": ("what the metric loses when everything is ablated: the unit of shares", "criteria.md"),
    "head": ("an attention head: a3.h0 is head 0 of layer 3", PARTS),
    "input": ("all that enters block 0: token and position embeddings", PARTS),
    "interval": (
        "the 95 % bootstrap interval of a value over prompt pairs",
        "validation.md#what-a-check-says",
    ),
    "L0": ("how many features of a dictionary are not 0 on a token, on average", TRYING),
    "logits": ("what the model says of every next token, before the softmax", PARTS),
    "loss-recovered": (
        "share of what zeros cost in loss that a reconstruction in their place saves",
        TRYING,
    ),
    "metric": ("logits turned into one number per prompt pair", PAIRS),
    "MIB": ("a public benchmark of circuits, whose file format is used", "files.md#circuitjson"),
    "minimal": ("every edge is needed: more than a random edge is", "criteria.md#minimality"),
    "mixer": ("what mixes positions in a layer without heads: r3 is that of layer 3", PARTS),
    "mlp": ("the feed-forward part of a layer: m3 is that of layer 3", PARTS),
    "nats": (
        "the unit of log-probabilities with base e: 1 nat is a factor of 2.72",
        "criteria.md#kl",
    ),
    "node": ("a component seen as a point of the graph", PARTS),
    "pair": ("a clean and a corrupted prompt with right and wrong answers", PAIRS),
    "p-value": ("how often chance alone would show as much", "validation.md#what-a-check-says"),
    "published": (
        "a circuit that a paper gives, named as published:NAME in the place of a file",
        "tasks.md#circuits-of-papers",
    ),
    "receiver": ("where an edge enters: a head's query, key or value, an MLP, the logits", PARTS),
    "recipe": (
        "all that finds a circuit again: method, settings, seed, pairs",
        "concepts.md#recipe",
    ),
    "reference": ("the prompt pairs that supply the means of mean ablation", PAIRS),
    "refuted": ("a value whose whole interval lies outside its bound", SAID),
    "reported": ("a value without a bound: for the reader", "validation.md#what-a-check-says"),
    "role-of-tokens": ("a named span of tokens of a prompt, as S2", PAIRS),
    "role-of-components": (
        "what a head or MLP is for, or where a head looks",
        "interpretation.md#roles",
    ),
    "run-directory": (
        "what `run` writes: circuit, verdict, pictures, report, run.toml",
        "files.md#a-run-directory",
    ),
    "SAE": (
        "a sparse autoencoder: a dictionary that gives back what it reads",
        DICTIONARIES,
    ),
    "score": ("a method's estimate of the effect of an edge", "concepts.md#score"),
    "sender": ("the component that an edge comes from", PARTS),
    "size": ("how many edges a circuit has", SELECTION),
    "supported": ("a value whose whole interval lies inside its bound", SAID),
    "task": ("a behaviour as a stream of prompt pairs, with a metric", PAIRS),
    "template": ("the wording that pairs share, with equally many tokens", PAIRS),
    "transcoder": (
        "a dictionary that reads what an MLP reads, and gives what it writes",
        DICTIONARIES,
    ),
    "undecided": ("a value whose interval holds the bound, or that was not measured", SAID),
    "validation": ("the prompt pairs that judge a circuit", PAIRS),
    "verdict": ("supported, refuted or undecided: what all criteria say together", SAID),
}
ALIASES = {
    "base-tokens": "BOS",
    "beginning-of-sequence": "BOS",
    "corrupt": "corrupted",
    "counterfactual": "corrupted",
    "dead-ends": "dead-end",
    "prompt-pair": "pair",
    "criteria": "criterion",
    "fidelity": "faithfulness",
    "role": "role-of-components",
    "name-mover": "mover",
    "threshold": "bound",
    "weights-digest": "digest",
    "share-of-the-gap": "gap",
    "p": "p-value",
    "sparse-autoencoder": "SAE",
}


@dataclass(frozen=True)
class Definition:
    """What one identifier means. `more` is a page of docs/, perhaps with a heading."""

    name: str
    kind: str
    line: str
    more: str

    @property
    def sentence(self) -> str:
        """The line as a sentence."""
        end = "" if self.line.endswith("?") else "."
        return f"{self.line[0].upper()}{self.line[1:]}{end}"


def _all(kind: str, lines: Mapping[str, str], more: str) -> tuple[Definition, ...]:
    return tuple(
        Definition(name, kind, line, more.format(name=name, page=METHOD_PAGES.get(name, name)))
        for name, line in lines.items()
    )


def _questions() -> tuple[Definition, ...]:
    def page(asks: str) -> str:
        return f"criteria.md#{asks.lower().replace(' ', '-').removesuffix('?')}"

    return tuple(Definition(key, "question", asks, page(asks)) for key, asks in QUESTIONS.items())


def _each(kind: str, lines: Mapping[str, tuple[str, str]]) -> tuple[Definition, ...]:
    return tuple(Definition(name, kind, *entry) for name, entry in lines.items())


# In the order of KINDS.
DEFINITIONS: tuple[Definition, ...] = (
    *_each("word", WORDS),
    *_questions(),
    *_all("criterion", CRITERIA, "criteria.md#{name}"),
    *_all("method", METHODS, "methods/{page}.md"),
    *_each("method", CHOSEN),
    *_all("metric", METRICS, PAIRS),
    *_all("ablation", ABLATIONS, "concepts.md#ablation"),
    *_all("units", UNITS, "units.md"),
    *_all("role", ROLES, "interpretation.md#roles"),
    *_all("format", FORMATS, "tasks.md#prompt-files-of-others"),
    *_each("choice", CHOICES),
    *_all("place", names.SITES, "methods/activation-patching.md"),
    *_all("dictionary", names.DICTIONARY_KINDS, "train-sae.md#kinds"),
    *_all("dictionary", names.TRAINED_POSITIONS, "train-sae.md#positions"),
    *_all("edit", names.EDITS, "editing.md#methods"),
    *_all("planted", PLANTED, "planted.md"),
)


def definitions_of(name: str) -> tuple[Definition, ...]:
    """Return what an identifier means: several where it names things of several kinds.

    Case, spaces and a plural s make no difference; `at-S2` is `at-ROLE`.

    Raises:
        GlossaryError: there is no such identifier; the message names near ones.
    """
    asked = re.sub(r"[\s_]+", "-", name.strip().lower())
    at = "at-ROLE" if asked.startswith("at-") else asked
    for each in (asked, at, asked.removesuffix("s")):
        wanted = {each.lower(), ALIASES.get(each, each).lower()}
        found = tuple(one for one in DEFINITIONS if one.name.lower() in wanted)
        if found:
            return found
    near = close_names(asked)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    raise GlossaryError(
        f"explain: must be a name of the glossary, got {name!r}. Nothing is known of it. {meant}"
        "`circuitkit explain` lists all of them."
    )


def close_names(name: str) -> tuple[str, ...]:
    """Return the names that are spelled nearly alike, the nearest first."""
    known = {one.name.lower(): one.name for one in DEFINITIONS}
    known |= {alias: alias for alias in ALIASES}
    return tuple(known[each] for each in get_close_matches(name.lower(), known, n=3, cutoff=0.7))


def meaning(name: str, kind: str = "") -> str:
    """Return the line of an identifier, of one kind if that is given; empty if there is none."""
    asked = "at-ROLE" if kind == "role" and name.startswith("at-") else name
    lines = (one.line for one in DEFINITIONS if one.name == asked and kind in ("", one.kind))
    return next(lines, "")
