"""How values are written: numbers, intervals, tokens, outcomes, and tables of them."""

import math
from dataclasses import dataclass

from circuitkit.statistics.bootstrap import Estimate

EXACT = "exact"
NONE = "–"
OUTCOME_MARKS = {"supported": "✓", "refuted": "✗", "undecided": "?"}
LEAST_PLAIN = 1e-6  # smaller numbers are written with their power of ten


@dataclass(frozen=True)
class TableText:
    """A table as shown: headers and rows of plain text.

    The columns named in `numeric` are aligned right; cells of those named in `code` are names to be
    set in a fixed-width face.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()


def number(value: float) -> str:
    """Return at least three significant digits, with places that line up: 0.910, 12.30, 1,234.

    Two of what is under 0.0005: 0.00046.
    """
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e7 or size < LEAST_PLAIN:
        return f"{value:.2e}"
    if size < 5e-4:
        return f"{value:.{1 - math.floor(math.log10(size))}f}"
    places = next((n for limit, n in ((1000, 0), (100, 1), (10, 2)) if size >= limit), 3)
    return f"{value:,.{places}f}"


def signed(value: float) -> str:
    """Return a number with its sign, zero without."""
    return ("+" if value > 0 else "") + number(value)


def interval(estimate: Estimate) -> str:
    """Return the 95 % interval; a count is exact and has none."""
    if estimate.n == 1:
        return EXACT
    places = places_of(estimate)
    return f"[{_plain(estimate.low, places)}, {_plain(estimate.high, places)}]"


def places_of(estimate: Estimate) -> int:
    """Return how many decimal places an interval knows.

    To the first digit of its half width, to the second where that begins with 1 or 2.
    """
    half = (estimate.high - estimate.low) / 2
    if not math.isfinite(half) or half <= 0:
        return 3
    power = math.floor(math.log10(half))
    return min(6, max(0, (half < 3 * 10.0**power) - power))


def rounded(estimate: Estimate) -> str:
    """Return an estimate with the digits that its interval knows."""
    half = (estimate.high - estimate.low) / 2
    if estimate.n == 1 or half <= 0 or not math.isfinite(half):
        return number(estimate.value)
    return _plain(estimate.value, places_of(estimate))


def signed_rounded(estimate: Estimate) -> str:
    """Return an estimate with its sign and the digits that its interval knows."""
    text = rounded(estimate)
    return ("+" if estimate.value > 0 and text.strip("0.") else "") + text


def _plain(value: float, places: int) -> str:
    text = f"{value:,.{places}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text  # no -0.0


def n_of(estimate: Estimate) -> str:
    """Return the number of pairs behind a value; a count has none."""
    return NONE if estimate.n == 1 else str(estimate.n)


def visible(token: str) -> str:
    """Return a token with its spaces, line breaks and control characters made visible."""
    marks = {" ": "␣", "\n": "↵", "\t": "⇥"}
    return "".join(
        marks.get(letter, letter if letter.isprintable() else f"\\x{ord(letter):02x}")
        for letter in token
    )


def marked(outcome: str) -> str:
    """Return an outcome with its sign, so that colour is never the only one."""
    return f"{OUTCOME_MARKS.get(outcome, '')} {outcome}".strip()
