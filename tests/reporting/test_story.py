"""The first screen: what is said of the parts and of the verdict, where the truth is known."""

import re
from dataclasses import replace
from xml.dom import minidom

import pytest

from circuitkit.interpretation.findings import (
    ATTENDS,
    DOES,
    Card,
    Group,
    Link,
    Loss,
    PromptView,
    Role,
)
from circuitkit.interpretation.section import HeatMap
from circuitkit.reporting.grouped import grouped_diagram
from circuitkit.reporting.parts_table import parts_table
from circuitkit.reporting.story.example import example_of
from circuitkit.reporting.story.picture import MOST_BOXES, columns_of, steps_of, story_svg
from circuitkit.reporting.story.sentence import story_of
from circuitkit.reporting.story.verdict import plain_verdict
from circuitkit.reporting.story.words import conjugated
from circuitkit.reporting.values import interval, rounded, signed_rounded
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.judge import with_question
from circuitkit.validation.verdict import Finding, check_of, reach_verdict

from .conftest import SCRIPT, near

GAP = 10.0
TOKENS = ("BOS", " Ann", " and", " Bob", " met", ".", " Bob", " ran", " to")
LABELS = ("", "IO", "", "S1", "", "", "S2", "", "END")


def role(name, kind, score, *, claimed=True):
    return Role(name, kind, near(score, 0.01), "share", 0.02, 0.001, claimed, f"evidence of {name}")


def card(name, *roles, alone=3.0, feeds=()):
    return Card(
        component=name,
        group="",
        summary="",
        roles=roles,
        reads=(),
        feeds=tuple(Link(edge, near(1.0)) for edge in feeds),
        direct=None,
        promotes=(),
        demotes=(),
        losses=(Loss((name,), near(alone, 0.01)),),
        backups=(),
    )


LOOKS = (role("wrong-answer", ATTENDS, 0.61), role("at-S2", ATTENDS, 0.6))


def view(tokens=TOKENS, answers=("Ann",), wrong=("Bob",)):
    return PromptView(tokens, LABELS, answers, wrong, 5.0, {}, {})


def explained(record, *cards, prompts=()):
    """Return the record with these cards, each a group of its own; heads act at END, m0 at S2."""
    found = replace(
        record.interpretation,
        gap=near(GAP),
        cards=cards,
        groups=tuple(Group(f"group {each.component}", (each.component,), "") for each in cards),
        prompts=prompts or (view(),),
    )
    rows = [each.component for each in cards]
    values = [(4.0, 0.0) if name == "m0" else (0.0, 4.0) for name in rows]
    where = HeatMap(
        "places",
        "",
        "logits",
        tuple(rows),
        ("S2", "END", "rest"),
        tuple((first, second, 0.0) for first, second in values),
        tuple((first - 0.1, second - 0.1, -0.1) for first, second in values),
        tuple((first + 0.1, second + 0.1, 0.1) for first, second in values),
        GAP,
    )
    return replace(record, interpretation=found, heat_maps=(where,))


def suppressor(name="a1.h0"):
    return card(name, role("suppressor", DOES, 0.5), *LOOKS)


def test_the_story_is_told_with_the_tokens_of_the_prompt(interpreted):
    feeder = card("m0", role("value-supplier", DOES, 0.6), alone=6.0, feeds=("m0->a1.h0<v>",))
    story = story_of(explained(interpreted, feeder, suppressor()))
    assert story.lead.endswith(
        "“Ann” stands once in the prompt and “Bob” twice: at the end, a1.h0 looks at “Bob” "
        "(61% of its attention) and pushes it down."
    )
    assert story.more[0] == "At the second “Bob” (S2), m0 puts down what a1.h0 fetches."


def test_a_head_is_said_to_raise_only_what_it_raises(interpreted):
    for name, says in (
        ("mover", "raises it."),
        ("suppressor", "pushes it down."),
        ("copy-suppression", "pushes it down, against the answer."),
        ("writer", "writes “Ann” over “Bob”."),
        ("opposer", "writes against “Ann”."),
    ):
        story = story_of(explained(interpreted, card("a1.h0", role(name, DOES, 0.5), *LOOKS)))
        assert story.lead.endswith(says), name


def test_an_effect_below_zero_is_said_to_work_against_the_answer(interpreted):
    feeder = card("m0", role("value-supplier", DOES, -0.6), alone=-6.0, feeds=("m0->a1.h0<v>",))
    story = story_of(explained(interpreted, feeder, suppressor()))
    assert story.more[0].endswith("puts down what a1.h0 fetches, against the answer.")
    assert 'stroke-dasharray="5 3"' in story_svg(story, ("S2", "END"))


def test_heads_that_look_at_one_thing_share_a_clause_and_keep_their_own_verbs(interpreted):
    other = card("a1.h1", role("writer", DOES, 0.3), *LOOKS)
    lead = story_of(explained(interpreted, suppressor(), other)).lead
    assert "at the end, a1.h0 and a1.h1 look at “Bob” (61% and 61% of their attention): " in lead
    assert lead.endswith("a1.h0 pushes it down, a1.h1 writes “Ann” over “Bob”.")


def test_how_often_names_stand_is_said_only_where_all_prompts_agree(interpreted):
    once = view(tokens=(*TOKENS[:6], " He", *TOKENS[7:]))
    assert "twice" in story_of(explained(interpreted, suppressor())).lead
    turned = view(answers=("Bob",), wrong=("Ann",))
    for prompts in ((view(), once), (view(), turned), (once,)):
        told = explained(interpreted, suppressor(), prompts=prompts)
        assert "stands" not in story_of(told).lead


def test_the_hedge_follows_the_verdict(interpreted):
    told = explained(interpreted, suppressor())
    for outcome, start in (
        ("supported", "“Ann” stands"),
        ("undecided", "As far as is shown: "),
        ("refuted", "Of what was found, which is not the whole of it: "),
    ):
        verdict = replace(told.validation.verdict, outcome=outcome)
        each = replace(told, validation=replace(told.validation, verdict=verdict))
        assert story_of(each).lead.startswith(start)


def test_what_is_idle_is_not_told_of_as_if_it_acted(interpreted):
    idle = card("a0.h2", role("idle", DOES, 0.01), *LOOKS, alone=0.01)
    story = story_of(explained(interpreted, idle, suppressor()))
    assert "a0.h2" not in story.lead
    assert story.more[-1].startswith("a0.h2 does little alone")


def test_without_an_interpretation_what_was_measured_is_said_and_how_to_ask(record):
    story = story_of(record)
    assert story.lead == "The circuit runs through 2 heads and 1 MLP, over 6 of 75 edges."
    assert story.ask == f"{record.info.command} --explain"
    assert "pushes" not in story.sentence
    python = replace(record, info=replace(record.info, command=""))
    assert story_of(python).ask == "circuitkit interpret DIR"


def test_the_picture_has_at_most_ten_boxes_and_names_all_parts_or_counts_them(interpreted):
    many = [card(f"a{n // 4}.h{n % 4}", role("writer", DOES, 0.5), *LOOKS) for n in range(8)]
    many += [card("m0", role("writer", DOES, 0.4)), card("m1", role("writer", DOES, 0.4))]
    many += [
        card("a1.h9", role("writer", DOES, 0.4)),
        card("a1.h8", role("idle", DOES, 0.0), alone=0.0),
    ]
    told = explained(interpreted, *many)
    story = story_of(told)
    svg = minidom.parseString(story_svg(story, columns_of(told)))
    boxes = svg.getElementsByTagName("rect")[1:]
    assert len(boxes) == MOST_BOXES
    assert len(steps_of(story)) == MOST_BOXES
    assert "3 more, little alone" in svg.toxml()


def test_a_box_stands_in_the_column_where_its_part_acts(interpreted):
    feeder = card("m0", role("value-supplier", DOES, 0.6), alone=6.0, feeds=("m0->a1.h0<v>",))
    told = explained(interpreted, feeder, suppressor())
    svg = minidom.parseString(story_svg(story_of(told), columns_of(told)))
    at = {
        text.firstChild.data: float(text.getAttribute("x"))
        for text in svg.getElementsByTagName("text")
    }
    assert at["m0"] == at["the second “Bob”"] < at["“to”"] == at["a1.h0"] == at["“Ann”"]
    [arrow] = svg.getElementsByTagName("circle")  # from what it looks at
    assert float(arrow.getAttribute("cx")) == at["m0"]


def test_a_part_whose_place_is_not_known_stands_apart_and_no_arrow_comes_from_there(interpreted):
    nowhere = card("a0.h2", role("writer", DOES, 0.4))
    told = explained(interpreted, suppressor(), nowhere)
    where = told.heat_maps[0]
    names = tuple("m9" if name == "a0.h2" else name for name in where.rows)
    told = replace(told, heat_maps=(replace(where, rows=names),))
    story = story_of(told)
    assert "a0.h2 writes “Ann” over “Bob”; at the end, a1.h0" in story.lead
    svg = minidom.parseString(story_svg(story, columns_of(told)))
    texts = [text.firstChild.data for text in svg.getElementsByTagName("text")]
    assert "place not known" in texts
    assert "“BOS”" not in texts
    assert len(svg.getElementsByTagName("circle")) == 1


def test_what_acts_at_no_place_that_has_a_role_is_put_nowhere(interpreted):
    told = explained(interpreted, suppressor())
    where = told.heat_maps[0]
    at = {"values": (0.0, 4.0, 9.0), "low": (-0.1, 3.9, 8.9), "high": (0.1, 4.1, 9.1)}
    spread = replace(where, **{name: (row,) for name, row in at.items()})
    assert story_of(told).parts[0].at == "END"
    assert story_of(replace(told, heat_maps=(spread,))).parts[0].at == ""


def test_a_group_is_named_after_its_strongest_member_whatever_its_sign(interpreted):
    weak = card("a1.h0", role("writer", DOES, 0.1), alone=1.0)
    strong = card("a1.h1", role("opposer", DOES, -0.5), alone=-5.0)
    told = explained(interpreted, weak, strong)
    groups = (Group("both", ("a1.h0", "a1.h1"), ""),)
    found = replace(told.interpretation, groups=groups)
    [part] = story_of(replace(told, interpretation=found)).parts
    assert part.components == ("a1.h1", "a1.h0")
    assert part.deed == "{write} against “Ann”"


def test_hostile_tokens_are_text_in_the_picture(interpreted):
    told = explained(
        interpreted, suppressor(), prompts=(view(answers=(SCRIPT,), wrong=("</text>",)),)
    )
    svg = story_svg(story_of(told), columns_of(told))
    assert "<script" not in svg
    minidom.parseString(svg)


def test_the_example_of_a_run_without_interpretation_is_its_first_sample(record):
    example = example_of(record)
    assert example.text.startswith("When Ann | and `Bob`")
    assert (example.answers, example.wrong) == (("Ann",), ("Bob",))
    assert example_of(replace(record, validation=replace(record.validation, samples=()))) is None


@pytest.mark.parametrize(("n", "says"), [(1, "pushes and is"), (2, "push and are")])
def test_verbs_agree_with_their_subject(n, says):
    assert conjugated("{push} and {be}", n) == says


# ---- the verdict


def judged(record, *findings, faithfulness=None):
    bounds = record.validation.thresholds.bounds
    checks = [with_question(check_of(name, finding, bounds[name])) for name, finding in findings]
    validation = replace(record.validation, verdict=reach_verdict(checks, "6 edges"))
    if faithfulness is not None:
        validation = replace(validation, faithfulness=faithfulness)
    return replace(record, validation=validation)


def kept(ablation, value):
    return Faithfulness(ablation, near(value, 0.02), near(4.0), near(5.0), near(0.0), ())


GOOD = ("faithfulness", Finding(near(0.9, 0.02)))


def test_the_strongest_caveat_is_the_ablation_under_which_it_fails(record):
    both = (kept("mean", 0.95), kept("zero", 0.02))
    plain = plain_verdict(judged(record, GOOD, faithfulness=both))
    assert plain.caveat.startswith("Under zero ablation it keeps 2% (0 to 4) instead")
    held = plain_verdict(judged(record, GOOD, faithfulness=(kept("mean", 0.95), kept("zero", 0.9))))
    assert not any("zero ablation" in caveat for caveat in held.caveats)


def test_an_overshoot_is_a_caveat(record):
    over = (kept("mean", 1.1), kept("zero", 0.9))
    hold = ("hold-out", Finding(near(0.95, 0.02), "wordings: 0.9"))
    plain = plain_verdict(judged(record, GOOD, hold, faithfulness=over))
    assert plain.caveat.startswith("It keeps more than all, 110% (108 to 112)")


def test_a_failure_on_other_wordings_comes_before_what_is_merely_reported(record):
    both = (kept("mean", 0.95), kept("zero", 0.9))
    hold = ("hold-out", Finding(near(0.3, 0.02), "wordings: 0.3"))
    same = ("agreement", Finding(near(0.4, 0.02)))
    plain = plain_verdict(judged(record, GOOD, same, hold, faithfulness=both))
    assert plain.caveat.startswith("On other prompts, wordings or answers it keeps only 30%")
    assert "40%" in plain.caveats[1]


def test_what_would_change_a_supported_verdict_is_the_check_nearest_to_its_limit(record):
    near_limit = ("completeness", Finding(near(0.37, 0.02)))
    plain = plain_verdict(judged(record, GOOD, near_limit))
    assert plain.outcome == "supported"
    assert "must be at most 0.4" in plain.change
    assert [step.command for step in plain.steps] == [""]


def test_an_undecided_verdict_says_how_many_pairs_would_decide_and_the_command(record):
    open_one = ("completeness", Finding(near(0.39, 0.038), "about 578 pairs would decide"))
    plain = plain_verdict(judged(record, GOOD, open_one))
    assert plain.outcome == "undecided"
    assert "About 578 pairs would decide." in plain.change
    # 40 pairs, as far from the limit as 0.038 / 0.01 says, in steps of 50; 30 found what 40 judge
    assert plain.steps[0].command == "circuitkit run toy --model tiny --seed 11 --n 450"
    assert "1 of 2 questions" in plain.says


def test_a_refuted_verdict_says_what_failed_first(record):
    plain = plain_verdict(judged(record, ("faithfulness", Finding(near(0.3, 0.02)))))
    assert plain.outcome == "refuted"
    assert "It is not enough by itself." in plain.says
    assert "must be at least 0.8" in plain.change
    assert plain.steps[0].command.endswith("--method exact --minimal")


# ---- the parts


def test_what_is_idle_alone_and_needed_in_the_circuit_is_said_to_be_so(interpreted):
    idle = card("a0.h2", role("idle", DOES, 0.0), alone=0.0)
    joint = card("m0", role("jointly-needed", DOES, 0.063), alone=0.0)
    told = explained(interpreted, idle, joint, suppressor())
    minimal = ("minimality", Finding(Estimate(1.0, 1.0, 1.0, 6)))
    told = judged(told, minimal)
    rows = {row[0]: row for row in parts_table(told, story_of(told)).first.rows}
    assert rows["a0.h2"][-1] == "not alone; jointly: every edge is needed in the circuit"
    assert rows["m0"][-1] == "jointly: 6% of the gap where nothing stands in"
    assert rows["a1.h0"][-1] == "alone"
    some = judged(told, ("minimality", Finding(Estimate(0.5, 0.4, 0.6, 6))))
    rows = {row[0]: row for row in parts_table(some, story_of(some)).first.rows}
    assert rows["a0.h2"][-1].endswith("50% of all edges are shown to be needed in the circuit")


def test_the_parts_that_do_most_come_first(interpreted):
    weak, strong = suppressor("a0.h2"), card("m0", role("writer", DOES, 0.5), alone=-9.0)
    told = explained(interpreted, weak, strong)
    names = [row[0] for row in parts_table(told, story_of(told)).first.rows]
    assert names[:2] == ["m0", "a0.h2"]


def test_without_groups_the_circuit_is_drawn_by_layers(record):
    drawn = grouped_diagram(record)
    assert [box.name for box in drawn.boxes] == ["layer 0 heads", "layer 0 MLP", "layer 1 heads"]
    into = next(
        a for a in drawn.arrows if (a.sender, a.receiver) == ("layer 0 heads", "layer 1 heads")
    )
    assert into.effect.value == 2.0  # 4 of the query and -2 of the key
    assert into.says == "2 edges"


# ---- digits


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (1.1049, 0.08, "1.10 [1.02, 1.18]"),
        (0.3714, 0.07, "0.37 [0.30, 0.44]"),
        (10.131, 0.58, "10.1 [9.6, 10.7]"),
        (-0.0004, 0.16, "0.00 [-0.16, 0.16]"),
        (4321.0, 60.0, "4,321 [4,261, 4,381]"),
        (0.5, 0.015, "0.500 [0.485, 0.515]"),
    ],
)
def test_an_estimate_has_the_digits_that_its_interval_knows(value, half, text):
    found = Estimate(value, value - half, value + half, 40)
    assert f"{rounded(found)} {interval(found)}" == text


def test_a_sign_stands_before_what_is_not_nought():
    assert signed_rounded(near(0.5)) == "+0.50"
    assert signed_rounded(near(-0.5)) == "-0.50"
    assert signed_rounded(Estimate(0.001, -0.2, 0.2, 9)) == "0.00"
    assert not re.search("nan", signed_rounded(Estimate(1.0, 1.0, 1.0, 1)))
