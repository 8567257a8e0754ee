"""Predictions on file before any outcome is measured, and outcomes that name that file.

    foretold.json    what the circuit says of each intervention: written first, whole
    outcomes.json    what happened, with the SHA-256 of foretold.json as it was then

So who reads both can see that no prediction was changed once its outcome was known here. That
nobody had measured it elsewhere before cannot be seen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitkit.control.foretelling.calibration import Calibration
from circuitkit.control.foretelling.foretell import Foretold
from circuitkit.errors import OutputError
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.work.files import write_whole

FORETOLD, OUTCOMES = "foretold.json", "outcomes.json"


def write_foretold(directory: Path, foretold: Foretold, about: Mapping[str, Any]) -> str:
    """Write what was foretold, and return the SHA-256 of the file.

    Raises:
        OutputError: it cannot be written.
    """
    (directory / OUTCOMES).unlink(missing_ok=True)  # of another record
    rows = zip(foretold.interventions, foretold.shares, foretold.touched, strict=True)
    facts = {
        **about,
        "gap": of_estimate(foretold.gap),
        "foretold": [
            {
                "name": each.name,
                "kind": each.kind,
                "share": of_estimate(share),
                "sign": (share.low > 0) - (share.high < 0),
                "components": list(touched),
            }
            for each, share, touched in rows
        ],
        "by random circuits": foretold.by_random.tolist(),
    }
    text = _text(facts)
    write_whole(directory / FORETOLD, text)
    return hashlib.sha256(text.encode()).hexdigest()


def write_outcomes(
    directory: Path,
    written: str,
    foretold: Foretold,
    outcomes: Sequence[Estimate],
    found: Calibration,
) -> dict[str, Any]:
    """Write the outcomes beside what was foretold, and return what is written.

    Raises:
        OutputError: what was foretold is not what was written, or the file cannot be written.
    """
    kept = hashlib.sha256((directory / FORETOLD).read_bytes()).hexdigest()
    if kept != written:
        raise OutputError(
            f"{str(directory / FORETOLD)!r}: must be as it was written before the outcomes were "
            "measured, got another content. What was foretold could not be told from what was "
            "known. Run the command again, in a directory of its own."
        )
    names = [each.name for each in foretold.interventions]
    facts = {
        "foretold_sha256": written,
        "outcomes": [
            {"name": name, "share": of_estimate(share)}
            for name, share in zip(names, outcomes, strict=True)
        ],
        "calibration": facts_of(found),
    }
    write_whole(directory / OUTCOMES, _text(facts))
    return facts


def facts_of(found: Calibration) -> dict[str, Any]:
    """Return a calibration as plain data."""
    return {
        "interventions": found.n,
        "rank_correlation": of_estimate(found.correlation),
        "linear_correlation": of_estimate(found.linear),
        "p": found.p,
        "slope": found.slope,
        "intercept": found.intercept,
        "error": found.error,
        "error_of_foretelling_nothing": found.error_of_none,
        "signs": {"outcomes beyond zero": found.n_signs, "foretold": found.n_right},
        "by_kind": found.by_kind,
        "random_circuits": list(found.random),
        "beats_chance": found.beats_chance,
        "surprises": [
            {
                "name": each.name,
                "foretold": of_estimate(each.foretold),
                "outcome": of_estimate(each.outcome),
                "intervals_apart": each.is_clear,
            }
            for each in found.surprises
        ],
    }


def of_estimate(found: Estimate) -> dict[str, float]:
    """Return an estimate as plain data."""
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=1, allow_nan=False) + "\n"
