"""Attention patterns on clean prompts: of every prompt, and averaged over a template's.

    pattern[head, destination, source]      share of the destination's attention; rows sum to 1

(With a softmax share below 1 rows sum to what the model uses.) Padding is removed: position 0 is a
prompt's first token. An average is taken only over prompts of one length, since a column must be
one place. Position labels are roles, or the token where all prompts have the same one, or "·".

A head that finds nothing to attend to rests on the first token or on itself (Vig and Belinkov 2019,
arXiv:1906.04284, call it null attention). Such a picture is not a blank and not a finding:
`resting_heads` names it. Attention says where a head reads, not whether what it reads is used.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.errors import MemoryBudgetError
from circuitkit.interpretation.findings import PromptView, TemplatePatterns
from circuitkit.interpretation.section import Matrix
from circuitkit.interpretation.sweeps.logit_attribution import Attribution
from circuitkit.interventions.budget import free_bytes, pairs_per_batch
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from, require_finite_tensor
from circuitkit.prompts.pairs import END, PromptPairs

VARIES = "·"
DECIMALS = 4  # of a share of attention in a record
RESTING = 0.9  # of a head's attention, on the first token and itself


@dataclass(frozen=True)
class Patterns:
    """Patterns layer by layer, without padding; zero beyond a prompt's last token."""

    layers: tuple[Float[Tensor, "pair head destination source"], ...]
    lengths: Int[Tensor, " pair"]

    def of(self, row: int, layer: int, head: int) -> Float[Tensor, "destination source"]:
        """Return one prompt's pattern, as long as the prompt."""
        n = int(self.lengths[row])
        return self.layers[layer][row, head, :n, :n]


def attention_patterns(
    model: SubjectModel, pairs: PromptPairs, *, memory: int | None = None
) -> Patterns:
    """Return every head's pattern on every clean prompt.

    Raises:
        MemoryBudgetError: they do not fit together; or one pair does not.
        ActivationError: a logit or a pattern is NaN or infinite.
    """
    pairs = pairs.prompts_alone()
    n_pos, graph = int(pairs.lengths.max()), model.graph
    itemsize = torch.finfo(model.dtype).bits // 8
    needed = len(pairs) * graph.n_layers * graph.n_heads * n_pos * n_pos * itemsize
    budget = free_bytes(model) if memory is None else memory
    if needed > budget:
        raise MemoryBudgetError(
            f"attention patterns: must fit in {budget} bytes, got {len(pairs)} prompts of up to "
            f"{n_pos} tokens that need {needed} bytes. All of them are kept. Give fewer pairs, or "
            "use `by_template`, which keeps averages only."
        )
    shape = (len(pairs), graph.n_heads, n_pos, n_pos)
    layers = tuple(torch.zeros(shape, dtype=model.dtype) for _ in range(graph.n_layers))
    for rows, n, layer, pattern in _recorded(model, pairs, budget):
        layers[layer][rows, :, :n, :n] = pattern
    return Patterns(layers, pairs.lengths)


def by_template(
    model: SubjectModel,
    pairs: PromptPairs,
    heads: Sequence[str] = (),
    *,
    memory: int | None = None,
) -> tuple[TemplatePatterns, ...]:
    """Return the mean pattern of some heads (none named: all) over the pairs of each template.

    A template whose prompts differ in length is split, and its parts named by their lengths.

    Raises:
        GraphError: the model has no such head.
        MemoryBudgetError: not even one pair fits.
        ActivationError: a logit or a pattern is NaN or infinite.
    """
    pairs = pairs.prompts_alone()
    names = heads or tuple(model.graph.head_places)
    places = {name: model.graph.place_of_head(name) for name in names}
    found = []
    for name, rows in _layouts(pairs).items():
        group = pairs.select(rows)
        n = int(group.lengths[0])
        total = torch.zeros(model.graph.n_layers, model.graph.n_heads, n, n, dtype=torch.float64)
        for _, _, layer, pattern in _recorded(model, group, memory):
            total[layer] += pattern.sum(0, dtype=torch.float64)
        mean = total / len(group)
        patterns = {name: _matrix(mean[place]) for name, place in places.items()}
        found.append(TemplatePatterns(name, len(group), _shared_labels(model, group), patterns))
    return tuple(found)


def prompt_views(
    model: SubjectModel,
    pairs: PromptPairs,
    attribution: Attribution,
    components: Sequence[str] = (),
    *,
    memory: int | None = None,
) -> tuple[PromptView, ...]:
    """Return each clean prompt as a reader may pick it (no components named: all that write).

    `attribution` is of pairs that begin with these; `value` is its logit difference.

    Raises:
        GraphError: nothing of a given name writes.
        MemoryBudgetError: the patterns do not fit together.
        ActivationError: a logit or a pattern is NaN or infinite.
    """
    names = components or attribution.components
    parts = {name: attribution.by_position(name) for name in names}
    texts = [pairs.answers_of(row) for row in range(len(pairs))]
    pairs = pairs.prompts_alone()
    patterns = attention_patterns(model, pairs, memory=memory)
    places = {n: p for n, p in model.graph.head_places.items() if n in parts}
    views = []
    for row, real in enumerate(pairs.mask):
        answers, wrong = (tuple(map(model.text_of, ids)) for ids in texts[row])
        views.append(
            PromptView(
                tokens=model.token_texts(pairs.clean[row, real].tolist()),
                labels=role_labels(pairs, row),
                answers=answers,
                wrong_answers=wrong,
                value=float(attribution.value[row]),
                patterns={n: _matrix(patterns.of(row, *place)) for n, place in places.items()},
                attributions={n: tuple(part[row, real].tolist()) for n, part in parts.items()},
            )
        )
    return tuple(views)


def resting_heads(templates: Sequence[TemplatePatterns]) -> dict[str, str]:
    """Return a sentence for every head that rests in all templates: it attends to nothing.

    The first position can only attend to itself, so the mean is over later destinations; prompts of
    one token say nothing.
    """
    on_first: dict[str, float] = defaultdict(float)
    on_self: dict[str, float] = defaultdict(float)
    n = 0
    for template in templates:
        if len(template.labels) < 2:
            continue
        n += template.n
        for head, pattern in template.patterns.items():
            later = list(enumerate(pattern))[1:]
            on_first[head] += template.n * sum(row[0] for _, row in later) / len(later)
            on_self[head] += template.n * sum(row[at] for at, row in later) / len(later)
    shares = {head: (on_first[head] / n, on_self[head] / n) for head in on_first}
    return {
        head: f"{head} rests: {first:.0%} of its attention is on the first token and {own:.0%} on "
        "the token itself, so its pattern tells of no other."
        for head, (first, own) in shares.items()
        if first + own >= RESTING
    }


def role_labels(pairs: PromptPairs, row: int) -> tuple[str, ...]:
    """Return the role of every token of a prompt, empty where it has none.

    Of several the shortest; END only where there is no other.
    """
    roles: Mapping[str, tuple[int, int]] = pairs.roles[row]
    names = sorted(roles, key=lambda name: (name == END, roles[name][1] - roles[name][0]))
    labels = []
    for pos in pairs.mask[row].nonzero()[:, 0].tolist():
        here = (name for name in names if roles[name][0] <= pos < roles[name][1])
        labels.append(next(here, ""))
    return tuple(labels)


def _recorded(
    model: SubjectModel, pairs: PromptPairs, memory: int | None
) -> Iterator[tuple[list[int], int, int, Float[Tensor, "row head destination source"]]]:
    """Yield rows of one length, that length, a layer, and their patterns there, unpadded."""
    size = pairs_per_batch(model, pairs, memory)
    layers = [layer for layer in range(model.graph.n_layers) if layer not in model.graph.mixers]
    points = {hook_points.pattern(layer): layer for layer in layers}
    for start in range(0, len(pairs), size):
        batch = pairs.select(range(start, min(start + size, len(pairs))))
        kept: dict[Point, Tensor] = {}
        with counted_from(start), torch.no_grad():
            logits = model.run(batch.clean_batch, {p: _keeper(kept, p) for p in points})
            require_finite_tensor(logits, f"model {model.name!r}, logits")
        for n in batch.lengths.unique().tolist():
            rows = (batch.lengths == n).nonzero()[:, 0].tolist()
            first = batch.mask[rows].int().argmax(1).unique().tolist()
            assert len(first) == 1, "prompts of one length are padded alike"
            real = slice(first[0], first[0] + n)
            for point, layer in points.items():
                pattern = kept[point][rows][..., real, real].cpu()
                yield [start + row for row in rows], n, layer, pattern


def _keeper(kept: dict[Point, Tensor], point: Point) -> Hook:
    def keep(pattern: Tensor) -> None:
        kept[point] = pattern.detach()

    return keep


def _layouts(pairs: PromptPairs) -> dict[str, list[int]]:
    """Return the rows of every template, in order; split where lengths differ."""
    rows: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(pairs.templates, pairs.lengths.tolist(), strict=True)):
        rows[key].append(row)
    lengths = defaultdict(list)
    for template, length in rows:
        lengths[template].append(length)
    return {
        template if len(lengths[template]) == 1 else f"{template} ({length} tokens)": found
        for (template, length), found in rows.items()
    }


def _shared_labels(model: SubjectModel, pairs: PromptPairs) -> tuple[str, ...]:
    roles = [role_labels(pairs, row) for row in range(len(pairs))]
    tokens = [row[real].tolist() for row, real in zip(pairs.clean, pairs.mask, strict=True)]
    labels = []
    for here, ids in zip(zip(*roles, strict=True), zip(*tokens, strict=True), strict=True):
        if len(set(here)) == 1 and here[0]:
            labels.append(here[0])
        else:
            labels.append(model.text_of([ids[0]]) if len(set(ids)) == 1 else VARIES)
    return tuple(labels)


def _matrix(pattern: Float[Tensor, "destination source"]) -> Matrix:
    """Return a pattern for a record, where more than DECIMALS would only make files large."""
    return tuple(tuple(round(share, DECIMALS) for share in row) for row in pattern.tolist())
