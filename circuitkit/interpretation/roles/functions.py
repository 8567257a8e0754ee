"""What a component is for: exact effects of noising its edges in the circuit, one edge at a time.

mover             into the logits, for the behaviour, raising what it looks at: above RAISED of the
                  plausible answers, more than other prompts' writes and the median head raise it
suppressor        into the logits, for the behaviour, lowering what it looks at, as far below
writer            into the logits, for the behaviour, otherwise
copy-suppression  into the logits, against it, lowering what it looks at
opposer           into the logits, against it, otherwise
inhibition        of a head into another's query, which it turns away from the wrong answers, and
                  more from them than from other tokens
query-, key-, value-supplier, mlp-supplier    into a head's q, k or v, or an MLP
mixer-supplier                               into what mixes positions without heads
backup            does more when another component is gone, and little before (causes.py)
jointly-needed    does nothing that is shown in the whole model, where others stand in, and is
                  needed in the circuit, or among those that do nothing alone
idle              neither

score = effect of the edge that does most, in shares of the gap; null: LEAST of the gap, which
chance may reach. Movers and inhibition: Wang et al. 2022 (arXiv:2211.00593, section 3). Copy
suppression: McDougall et al. 2023 (arXiv:2310.04625).
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.circuit import kind_of
from circuitkit.circuits.graph import LOGITS, component_of, read_of
from circuitkit.interpretation.findings import DOES
from circuitkit.interpretation.roles.attention import ANSWER, WRONG_ANSWER
from circuitkit.interpretation.roles.candidate import RoleCandidate
from circuitkit.interpretation.roles.causes import LEAST, backups, least_effect, losses, share
from circuitkit.interpretation.roles.copying import copying, median_rank, raised
from circuitkit.interpretation.roles.evidence import Evidence
from circuitkit.interpretation.roles.steering import attention_moved
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import MIN_PAIRS, mean_estimate
from circuitkit.validation.minimality import p_above

MOVER, SUPPRESSOR, WRITER = "mover", "suppressor", "writer"
SUPPRESSION, OPPOSER = "copy-suppression", "opposer"
INHIBITION, BACKUP, IDLE = "inhibition", "backup", "idle"
JOINT = "jointly-needed"
SUPPLIERS = {
    "q": "query-supplier",
    "k": "key-supplier",
    "v": "value-supplier",
    "mlp": "mlp-supplier",
    "mixer": "mixer-supplier",
}
COPIES = 0.1  # of the most that a head adds to any logit
RAISED = 0.75  # of the plausible answers are raised less than what a mover looks at; chance: 0.5
LOOKED = 0.2  # of its attention, at plausible answers
ABOVE = 0.1  # rank, more than other prompts' writes and the median head give what it looks at
N_OTHER_HEADS = 8
TURNED = 0.05  # of a head's attention, moved to or from the wrong answers
UNIT = "share of the gap"


def functions_of(evidence: Evidence, component: str) -> list[RoleCandidate]:
    """Return what a component may be for, one role for each kind of receiver."""
    case = evidence.case
    by_read: dict[str, list[str]] = defaultdict(list)
    for edge in case.circuit.edges:
        sender, _, receiver = edge.partition("->")
        if sender == component:
            by_read[read_of(receiver)].append(edge)
    found = []
    for read, edges in by_read.items():
        best = max(edges, key=lambda edge: abs(evidence.edge_effects[edge].mean()))
        changes = evidence.edge_effects[best]
        score = share(case, changes)
        # the best of several edges: each of them was tried
        p = min(1.0, len(edges) * float(p_above(changes[None], least_effect(case))[0]))
        if read == LOGITS:
            name, why = _into_logits(evidence, component, score.value)
        elif read == "q" and kind_of(component) == "head":
            name, why = _into_query(evidence, best)
        else:
            name, why = SUPPLIERS[read], ""
        says = f"noising {best} costs {score} of the gap{why}"
        large = abs(score.value) >= LEAST
        found.append(RoleCandidate(component, name, DOES, score, UNIT, LEAST, p, large, says))
    return found


def stand_ins(evidence: Evidence) -> list[RoleCandidate]:
    """Return the role of backup of each component that does more when another is gone."""
    case, found = evidence.case, []
    for gone, taking_over in backups(case, evidence.edge_effects).items():
        for name in taking_over:
            without, both, alone = losses(case, [(gone,), (name, gone), (name,)])
            then = both - without
            p = float(p_above((then - alone)[None], least_effect(case))[0])
            silent = 2 * abs(float(alone.mean())) <= float(then.mean())
            score = share(case, then)
            says = f"without {gone} it is worth {score} of the gap, else {share(case, alone)}"
            found.append(RoleCandidate(name, BACKUP, DOES, score, UNIT, LEAST, p, silent, says))
    return found


def _into_logits(evidence: Evidence, component: str, effect: float) -> tuple[str, str]:
    """Return the name of what writes into the logits, and the evidence for it."""
    logits = evidence.ends.direct_logits(component)
    has_own_answers = logits.shape[1] < len(evidence.case.model.token_embeddings)
    if kind_of(component) != "head" or has_own_answers:  # then nothing read can be copied
        return (WRITER if effect >= 0 else OPPOSER), ""
    attention, pairs = evidence.end_attention(component), evidence.prompts
    others = evidence.direct_logits_of_others(component, N_OTHER_HEADS)
    return into_logits(logits, attention, pairs, others, effect)


def into_logits(
    logits: Float[Tensor, "pair vocab"],
    attention: Float[Tensor, "pair source"],
    pairs: PromptPairs,
    others: Iterable[Float[Tensor, "pair vocab"]],
    effect: float,
) -> tuple[str, str]:
    """Return the name of a head by its direct logits and where it looks, and the evidence.

    `others` are direct logits of other heads on the same pairs.
    """
    copied = mean_estimate(copying(logits, attention, pairs))
    least = COPIES * float(logits.abs().max(1).values.mean())
    rank, said = _rank_of_looked(logits, attention, pairs, others)
    why = f"; it adds {copied} logits to what it looks at, over the prompt's other tokens{said}"
    raises = copied.low > 0 and copied.value > least and rank > 0
    lowers = copied.high < 0 and copied.value < -least and rank < 0
    if effect >= 0:
        return (MOVER if raises else SUPPRESSOR if lowers else WRITER), why
    return (SUPPRESSION if lowers else OPPOSER), why


def _rank_of_looked(
    logits: Float[Tensor, "pair vocab"],
    attention: Float[Tensor, "pair source"],
    pairs: PromptPairs,
    others: Iterable[Float[Tensor, "pair vocab"]],
) -> tuple[int, str]:
    """Return 1 if a head raises what it looks at among the plausible answers, -1 if it lowers it.

    0 where neither beats both nulls; and the evidence.
    """
    found = raised(logits, attention, pairs)
    if found is None or found.looked < LOOKED or len(found.own) < MIN_PAIRS:
        return 0, "; it does not look at plausible answers"
    own, beyond = mean_estimate(found.own), mean_estimate(found.own - found.elsewhere)
    usual = median_rank(others, attention, pairs)
    says = (
        f"; what it looks at stands above {own} of {found.n_answers} plausible answers in what it "
        f"writes ({found.elsewhere.mean():.2g} by other prompts' writes, {usual:.2g} by the "
        "median head's)"
    )
    if own.low > RAISED and beyond.low > ABOVE and own.value > usual + ABOVE:
        return 1, says
    if own.high < 1 - RAISED and beyond.high < -ABOVE and own.value < usual - ABOVE:
        return -1, says
    return 0, says


def _into_query(evidence: Evidence, edge: str) -> tuple[str, str]:
    """Return the name of what writes into a query, and the evidence for it."""
    case = evidence.case
    pairs, sources = evidence.prompts, evidence.sources
    end = torch.arange(len(pairs)), pairs.label_pos
    wrong = sources[WRONG_ANSWER][end]
    rest = pairs.mask & ~wrong & ~sources[ANSWER][end]
    held = wrong.any(1) & rest.any(1)
    if int(held.sum()) < MIN_PAIRS:
        return SUPPLIERS["q"], ""
    before, after = attention_moved(
        case.model,
        pairs,
        edge,
        metric=case.metric,
        ablation=case.ablations[case.ablation],
        memory=case.memory,
    )
    change = (before - after)[held]
    at_wrong, at_rest = _per_place(change, wrong[held]), _per_place(change, rest[held])
    moved = mean_estimate((at_wrong * wrong[held].sum(1)).numpy())
    singled_out = mean_estimate((at_wrong - at_rest).numpy())
    head = component_of(edge.partition("->")[2])
    turns_away = singled_out.high < 0 and moved.high < 0 and moved.value <= -TURNED
    why = f"; it moves {moved} of the attention of {head} to the wrong answers"
    return (INHIBITION if turns_away else SUPPLIERS["q"]), why


def _per_place(
    change: Float[Tensor, "pair source"], places: Bool[Tensor, "pair source"]
) -> Float[Tensor, " pair"]:
    return (change * places).sum(1) / places.sum(1)
