"""Write docs/pico-dictionaries.md from the weights' card: `python docs/pico_dictionaries.py`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from circuitkit.zoo.dictionaries import PICO
from circuitkit.zoo.pico.categories import category_names

PAGE = Path(__file__).with_name("pico-dictionaries.md")
TITLES = {
    "sae": "SAE",
    "transcoder": "transcoder",
    "random directions": "random directions",
    "sae of an untrained model": "SAE of an untrained pico",
}
HEAD = """# Dictionaries of pico

An SAE and a transcoder of each of pico's four MLPs ship with the package, {n_features} features
each, in the layout that SAELens reads (weights in {stored_as}, {megabytes:.1f} MB together).
They were trained by one command, in about seven minutes of one CPU core:

```bash
circuitkit train-pico --dictionaries -o my-dictionaries
```

`circuitkit.load_dictionary("pico:m3")` returns an SAE, `"pico:m3-transcoder"` a transcoder.
Both are trained as `batchtopk` ([Training dictionaries](train-sae.md)): k = {k}, {steps} steps
of {prompts_per_step} sequences of pico's own language, drawn afresh for every step, seed {seed}.
An SAE takes apart what an MLP writes. A transcoder reads what the MLP reads, centred and scaled
by its norm, and rebuilds what it writes. The first position of every sequence is left out.

## What they are worth

On {n_run} sequences that no step had. Loss recovered is the share of the loss, lost where the
mean (or zeros) takes the place of what the MLP writes, that is there with the reconstruction in
its place. Intervals are 95 %, over sequences. Dead features were active on none of {n_tokens:,}
tokens.

"""
CONTROLS = """
Random directions are active on as many tokens as the features of the SAE, one by one, and the
best linear map from them to what the MLP writes is fitted on the same tokens that it is
measured on. That flatters them. The SAE of an untrained pico is of a copy with fresh weights,
by the same plan; that model's loss hardly depends on any MLP.
"""
GRAMMAR = """
## How many features stand for one thing

Pico's language is known, so whether a token is a name, the giver, the second time of a word in
a list, or what comes before a surname is known too: {n_categories} categories, listed in
`circuitkit/zoo/pico/categories.py`, and every single word, as the token itself or as the next
one. A feature stands for what its being active tells best, by F1: chosen on one half of
{n_sequences} sequences, measured on the other. It is called monosemantic where that F1 is at
least 0.8. Only features that are active on ten tokens of each half are counted. Intervals are
over features.

"""
ANSWER = """
**Few features stand for one thing: {low:.0%} to {high:.0%} of an SAE's, {t_low:.0%} to
{t_high:.0%} of a transcoder's.** More do than random directions ({r_low:.0%} to {r_high:.0%})
or features of an untrained model ({u_low:.0%} to {u_high:.0%}). The grammar made every text,
and yet has no single name for most of what the features are active on. A high explained
variance says little of this: random directions explain {ev:.0%} of m3.
"""


def page() -> str:
    """Return the page as Markdown."""
    card = json.loads((PICO / "card.json").read_text(encoding="utf-8"))
    rows, plan = card["rows"], card["plans"]["sae"]
    size = sum(path.stat().st_size for path in PICO.rglob("*") if path.is_file())
    facts = {**plan, **{key: value for key, value in card.items() if key not in ("plans", "rows")}}
    head = HEAD.format(**facts, megabytes=size / 1e6, n_tokens=rows[0]["quality"]["n_tokens"])
    named = ANSWER.format(**_ranges(rows))
    grammar = GRAMMAR.format(n_categories=len(category_names()), n_sequences=card["n_sequences"])
    parts = (
        head,
        _worth(rows),
        CONTROLS,
        _no_better(rows),
        grammar,
        _meanings(rows),
        named,
        _found(rows),
    )
    return "".join(parts)


def _ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (list(TITLES).index(row["of"]), row["place"]))


def _worth(rows: list[dict[str, Any]]) -> str:
    header = ("", "MLP", "L0", "explained variance", "loss recovered (mean)", "(zeros)", "dead")
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in _ordered(rows):
        quality = row["quality"]
        cells = (
            TITLES[row["of"]],
            row["place"],
            f"{quality['l0']:.1f}",
            _share(quality["explained_variance"]),
            _share(quality["recovered_from_mean"]),
            _share(quality["recovered_from_zeros"]),
            f"{quality['dead_share']:.1%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _no_better(rows: list[dict[str, Any]]) -> str:
    """Name the dictionaries that recover no more of the loss than random directions surely do."""
    key, of_random = "recovered_from_mean", {}
    for row in rows:
        if row["of"] == "random directions":
            of_random[row["place"]] = row["quality"][key]["high"]
    named = [
        f"{TITLES[row['of']]} of {row['place']}"
        for row in _ordered(rows)
        if row["of"] in ("sae", "transcoder")
        and row["quality"][key]["low"] <= of_random[row["place"]]
    ]
    text = "\nDictionaries whose interval of loss recovered overlaps that of random directions: "
    return f"{text}{', '.join(named) or 'none'}.\n"


def _meanings(rows: list[dict[str, Any]]) -> str:
    header = ("", "MLP", "counted", "monosemantic", "for a category", "for a word", "mean F1")
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in _ordered(rows):
        found = row["monosemantic"]
        shares = (_share(found[key], 3) for key in ("share", "by_category", "by_word"))
        counted, f1 = str(found["n_counted"]), f"{found['mean_f1']:.2f}"
        cells = (TITLES[row["of"]], row["place"], counted, *shares, f1)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _found(rows: list[dict[str, Any]]) -> str:
    """Say which categories some feature stands for, place by place."""
    lines = ["\n## What they stand for\n\nCategories with a monosemantic feature, and how many.\n"]
    for row in _ordered(rows):
        matches = row["monosemantic"]["matches"]
        named = Counter(match["what"] for match in matches if not match["is_word"])
        if row["of"] in ("sae", "transcoder"):
            texts = (f"{what} ({n})" if n > 1 else what for what, n in sorted(named.items()))
            lines.append(f"- {TITLES[row['of']]} of {row['place']}: {', '.join(texts)}.")
    return "\n".join(lines) + "\n"


def _share(estimate: dict[str, Any] | None, digits: int = 3) -> str:
    if estimate is None:
        return "-"
    value, low, high = (f"{estimate[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _ranges(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the smallest and the largest share of monosemantic features of each kind."""
    by_kind: dict[str, list[float]] = {}
    for row in rows:
        by_kind.setdefault(row["of"], []).append(row["monosemantic"]["share"]["value"])
    found = {}
    for start, kind in zip(("", "t_", "r_", "u_"), TITLES, strict=True):
        found |= {f"{start}low": min(by_kind[kind]), f"{start}high": max(by_kind[kind])}
    last = next(r for r in rows if (r["of"], r["place"]) == ("random directions", "m3"))
    return found | {"ev": last["quality"]["explained_variance"]["value"]}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
