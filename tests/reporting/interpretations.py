"""Plausible interpretations of any circuit, with hostile tokens in them. Nothing is measured."""

import random

from circuitkit.circuits.circuit import kind_of
from circuitkit.circuits.graph import INPUT, LOGITS
from circuitkit.interpretation.directions.search import DirectionRow
from circuitkit.interpretation.directions.search import section as directions
from circuitkit.interpretation.findings import (
    ATTENDS,
    DOES,
    Card,
    Group,
    GroupEdge,
    HeadWeights,
    Interpretation,
    Link,
    Loss,
    PromptView,
    Role,
    TemplatePatterns,
    WeightedPair,
    Written,
)
from circuitkit.interpretation.section import HeatMap, Section
from circuitkit.interpretation.weights.composition import Composition
from circuitkit.statistics.bootstrap import Estimate

HOSTILE = ("<script>alert(1)</script>", "</script>", "\"'", "\u2028\u2029", " ␣", "<!--", "&lt;")
WORDS = (" When", " Mary", " and", " John", " went", " to", " the", " store", ",", " John", " gave")


def interpretation_of(record, *, n_prompts=4, seed=0):
    """Return an interpretation of the record's circuit, with made-up numbers."""
    rng = random.Random(seed)
    inner = [name for name in record.circuit.components if name not in (INPUT, LOGITS)]
    half = max(1, len(inner) // 2)
    groups = (
        Group("duplicate finders", tuple(inner[:half]), "They look back at the earlier name."),
        Group("name movers", tuple(inner[half:]), "They copy <b>the name</b> to the end."),
    )
    heads = [name for name in inner if kind_of(name) == "head"]
    return Interpretation(
        task=record.info.task,
        model=record.info.model,
        model_digest=record.info.model_digest,
        metric=record.info.metric,
        unit=record.info.unit,
        ablation=record.info.ablation,
        n_pairs=40,
        seed=seed,
        gap=near(9.625),
        cards=tuple(card_of(record.circuit, name, groups, rng) for name in inner),
        groups=groups,
        group_edges=(
            GroupEdge("input", groups[0].name, 2, near(1.25)),
            GroupEdge(groups[0].name, groups[1].name, 3, near(2.5)),
            GroupEdge(groups[1].name, "logits", 1, near(-0.75)),
        ),
        prompts=tuple(prompt_of(number, inner, heads, rng) for number in range(n_prompts)),
        templates=(
            TemplatePatterns(
                "gave <to>",
                7,
                ("BOS", "IO", "S1", "END"),
                {name: pattern_of(4, rng) for name in heads},
            ),
        ),
        sections=(
            Section("sweeps", "Sweeps", "Means.", pictures=(sweep_of(heads or inner, rng),)),
            directions({"clean or corrupted": [direction_row()]}),
        ),
        notes=("Roles of MLPs were not tried <here>.",),
    )


def direction_row():
    return DirectionRow(
        "resid 1", "S2", near(0.95), near(0.5), 0.875, near(0.25), near(0.125), "used here"
    )


def near(value, width=0.0625, n=40):
    return Estimate(value, value - width, value + width, n)


def card_of(circuit, name, groups, rng):
    reads = [edge for edge in circuit.edges if circuit.ends(edge)[1] == name]
    feeds = [edge for edge in circuit.edges if circuit.ends(edge)[0] == name]
    is_head = kind_of(name) == "head"
    attends = Role(
        "previous token", ATTENDS, near(0.625), "share", 0.125, 0.002, True, "62 % of 40"
    )
    copies = Role(
        "copies names", DOES, near(0.25), "logits", 0.2, 0.6, False, "no more than chance"
    )
    return Card(
        component=name,
        group=next(group.name for group in groups if name in group.components),
        summary=f"{name} writes what it reads.",
        roles=(copies, attends) if is_head else (),
        reads=tuple(Link(edge, near(rng.uniform(-1, 3)), "the earlier name") for edge in reads),
        feeds=tuple(Link(edge, near(rng.uniform(-1, 3))) for edge in feeds),
        direct=near(rng.uniform(-1, 2)),
        promotes=(Written(HOSTILE[0], 2.125), Written(" Mary", 1.5), Written(HOSTILE[3], 0.75)),
        demotes=(Written(HOSTILE[1], -1.25), Written(" ␣", -0.5)),
        losses=(Loss((name,), near(1.5)), Loss((name, "a0.h0"), near(3.75))),
        backups=("a0.h0",) if is_head else (),
        weights=weights_of(reads) if is_head else None,
    )


def weights_of(reads):
    """A head's weights, with hostile tokens; as if every edge came from a head."""
    return HeadWeights(
        copying=0.8125,
        matching=-0.4375,
        writes=(WeightedPair(HOSTILE[0], " Mary", 7.125),),
        finds=(WeightedPair(" John", HOSTILE[3], 3.375),),
        composes=tuple(Composition(edge, 0.3125, 0.0625, 0.015625, 50) for edge in reads),
    )


def prompt_of(number, names, heads, rng):
    tokens = (*WORDS, HOSTILE[number % len(HOSTILE)], HOSTILE[0])
    return PromptView(
        tokens=tokens,
        labels=tuple(
            {1: "IO", 3: "S1", 9: "S2", len(tokens) - 1: "END"}.get(at, "")
            for at in range(len(tokens))
        ),
        answers=(" Mary",),
        wrong_answers=(" John",),
        value=5.25 + number,
        patterns={name: pattern_of(len(tokens), rng) for name in heads},
        attributions={name: tuple(rng.gauss(0, 1) for _ in tokens) for name in names},
    )


def pattern_of(n, rng):
    rows = []
    for destination in range(n):
        weights = [rng.random() ** 4 for _ in range(destination + 1)] + [0.0] * (
            n - destination - 1
        )
        rows.append(tuple(weight / sum(weights) for weight in weights))
    return tuple(rows)


def sweep_of(names, rng):
    values = tuple(tuple(rng.gauss(0, 1) for _ in range(3)) for _ in names)
    return HeatMap(
        "direct attribution",
        "what each head adds <directly>",
        "logits",
        tuple(names),
        ("IO", "S1", "END"),
        values,
        tuple(tuple(value - 0.5 for value in row) for row in values),
        tuple(tuple(value + 0.5 for value in row) for row in values),
        6.25,
        says="Most comes from one head.",
    )
