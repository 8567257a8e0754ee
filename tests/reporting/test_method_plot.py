"""The picture of a comparison shows every method."""

from circuitkit.reporting.method_plot import MARKS, comparison_svg, style_of
from circuitkit.study.method_comparison import MethodRow
from circuitkit.validation.areas import FRACTIONS, Areas


def rows(n):
    curve = tuple(1.0 for _ in FRACTIONS)
    return [MethodRow(f"method-{i}", Areas(1.0, 0.0, curve), 1.0) for i in range(n)]


def test_no_method_vanishes_however_many_there_are():
    for n in (1, 17, len(MARKS) + 1, 40):
        svg = comparison_svg(rows(n), "task", "model")
        assert [i for i in range(n) if f"method-{i} (" not in svg] == []


def test_forty_methods_have_forty_looks():
    assert len({tuple(style_of(number).values()) for number in range(40)}) == 40


def test_thirty_methods_are_told_apart_without_their_marks():
    looks = {(style_of(number)["color"], style_of(number)["linestyle"]) for number in range(30)}
    assert len(looks) == 30
