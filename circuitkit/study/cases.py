"""From a circuit to its case: what that judges see, and the verdict.

The pairs that found a circuit never judge it: a circuit file holds a digest of every prompt that
was used, and a validation pair among them is refused, whatever seed or file it comes from.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.selection import select_as_found
from circuitkit.errors import CircuitFileError, CriterionError
from circuitkit.interventions.run_circuit import require_same_graph
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.splits import MIN_HELD_OUT, sample_fresh
from circuitkit.prompts.tokenization import tokenizer_digest
from circuitkit.study.plain_case import plain_case
from circuitkit.study.refinding import finder
from circuitkit.study.settings import Settings, Stage
from circuitkit.study.subject import Subject
from circuitkit.validation.case import Case, Find, HeldOut, LateHeldOut, Select, not_found_again
from circuitkit.validation.fresh_draw import FRESH
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.precision import warn_if_coarse
from circuitkit.validation.verdict import Verdict
from circuitkit.work.progress import silent


def judge(
    subject: Subject,
    circuit: Circuit,
    settings: Settings,
    stage: Stage = lambda title: silent,
) -> Verdict:
    """Return the verdict on a circuit by the criteria asked for.

    Raises:
        CriterionError: a validation prompt is one of those that found the circuit, or a criterion
            is unknown.
        GraphError: the circuit belongs to another architecture.
    """
    return judge_case(subject, case_of(subject, circuit, settings), settings, stage)


def judge_case(
    subject: Subject, case: Case, settings: Settings, stage: Stage = lambda title: silent
) -> Verdict:
    """Return the verdict on a case of `case_of`; what it has measured is not measured again."""
    warn_if_coarse(
        subject.model,
        subject.splits.validation,
        ablation=subject.ablations[settings.ablation],
        metric=subject.metric,
    )
    return judge_circuit(
        case, settings.thresholds, only=settings.criteria, progress=stage("Judging")
    )


def case_of(subject: Subject, circuit: Circuit, settings: Settings) -> Case:
    """Return the case of a circuit.

    Raises:
        CriterionError: a validation prompt is one of those that found the circuit.
        GraphError: the circuit belongs to another architecture.
    """
    require_same_graph(subject.model, circuit)
    require_unseen(circuit, subject.splits.validation)
    return replace(
        plain_case(subject, circuit, settings),
        find=_lazy_finder(subject, circuit, settings),
        select=_selector(circuit),
        held_out=LateHeldOut(partial(_held_out, subject, circuit)),
    )


def _held_out(subject: Subject, circuit: Circuit) -> Mapping[str, HeldOut]:
    """Return the subject's held-out pairs, and those drawn by the circuit's own digest."""
    if subject.source is None:
        return subject.held_out
    pairs = sample_fresh(
        subject.source,
        subject.model.tokenizer,
        subject.splits,
        n=len(subject.splits.validation),
        seed=f"fresh {own_digest(circuit, subject)}",
        bos=subject.request.bos,
    )
    rows = [] if pairs is None else sorted(set(range(len(pairs))) - set(rows_seen(circuit, pairs)))
    if pairs is None or len(rows) < MIN_HELD_OUT:
        return subject.held_out
    return {**subject.held_out, FRESH: HeldOut(pairs.select(rows), subject.ablations)}


def own_digest(circuit: Circuit, subject: Subject) -> str:
    """Return what a claim is about, as hex digits: the edges, the weights and the task."""
    claim = repr((sorted(circuit.edges), subject.model.digest, subject.task))
    return hashlib.sha256(claim.encode()).hexdigest()[:16]


def rows_seen(circuit: Circuit, pairs: PromptPairs) -> list[int]:
    """Return the rows of the pairs that share a prompt with those that found the circuit."""
    seen = set(circuit.provenance.discovery_prompts)
    return [row for row, pair in enumerate(pairs.pair_digests()) if seen.intersection(pair)]


def require_unseen(circuit: Circuit, pairs: PromptPairs) -> None:
    """Refuse to judge a circuit on prompts that found it.

    Raises:
        CriterionError: a prompt is among them.
    """
    shared = rows_seen(circuit, pairs)
    if shared:
        raise CriterionError(
            f"validation pairs: must be others than those that found the circuit, got "
            f"{len(shared)} of {len(pairs)} that share a prompt with them, as "
            f"{pairs.pairs[shared[0]].clean!r}. A circuit would be judged on what it was fitted "
            "to. Of a task, leave out --seed: the circuit's own seed draws others. In a prompt "
            'file, give lines that judge "split": "validation", and find the circuit again.'
        )


def require_same_tokenizer(
    circuit: Circuit, model: SubjectModel, where: str | Path, remedy: str
) -> None:
    """Refuse a circuit that was found with another tokenizer; `remedy` is what to do then.

    Raises:
        CircuitFileError: it was.
    """
    expected, got = circuit.provenance.tokenizer_digest, tokenizer_digest(model.tokenizer)
    if expected and expected != got:
        raise CircuitFileError(
            f"{where}: must be run with the tokenizer it was found with, got vocabulary "
            f"{got or '(none)'} of model {model.name!r} where it was {expected}. The same prompts "
            f"are other tokens. {remedy}"
        )


def _lazy_finder(subject: Subject, circuit: Circuit, settings: Settings) -> Find:
    """Return what finds the circuit again, or says why not, the first time that it is asked."""

    @cache
    def found() -> Find:
        find, reason = finder(subject, circuit, settings)
        if find is None:
            raise not_found_again(reason)
        return find

    return lambda pairs, seed: found()(pairs, seed)


def _selector(circuit: Circuit) -> Select | None:
    """Return what gives the best edges of the circuit's own ranking; None without scores."""
    if not bool(circuit.scores.values.any()):
        return None
    return partial(select_as_found, circuit)
