"""Predictions on file before any outcome is measured, and outcomes that name that file.

    foretold.json    what the circuit says of each intervention: written first, whole
    outcomes.json    what happened, with the SHA-256 of foretold.json as it was then

So who reads both can see that no prediction was changed once its outcome was known here. That
nobody had measured it elsewhere before cannot be seen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from circuitkit.control.foretelling.calibration import Calibration
from circuitkit.control.foretelling.foretell import Foretold
from circuitkit.errors import OutputError
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.work.files import unwritable, write_whole

FORETOLD, OUTCOMES, PICTURE = "foretold.json", "outcomes.json", "foretold.svg"


def write_foretold(directory: Path, foretold: Foretold, about: Mapping[str, Any]) -> str:
    """Write what was foretold, and return the SHA-256 of the file.

    Raises:
        OutputError: it cannot be written.
    """
    for name in (OUTCOMES, PICTURE):  # of another record
        try:
            (directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(directory, error) from error
    rows = zip(foretold.interventions, foretold.shares, foretold.touched, strict=True)
    facts = {
        **about,
        "gap": asdict(foretold.gap),
        "foretold": [
            {
                "name": each.name,
                "kind": each.kind,
                "share": asdict(share),
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
    if _digest_of(directory / FORETOLD) != written:
        raise OutputError(
            f"{str(directory / FORETOLD)!r}: must be as it was written before the outcomes were "
            "measured, got other content, or none. What was foretold could not be told from what "
            "was known. Run the command again, in a directory of its own."
        )
    names = [each.name for each in foretold.interventions]
    facts = {
        "foretold_sha256": written,
        "outcomes": [
            {"name": name, "share": asdict(share)}
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
        "rank_correlation": asdict(found.correlation),
        "linear_correlation": asdict(found.linear),
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
                "foretold": asdict(each.foretold),
                "outcome": asdict(each.outcome),
                "intervals_apart": each.is_clear,
            }
            for each in found.surprises
        ],
    }


def _digest_of(path: Path) -> str:
    """Return the SHA-256 of a file; empty where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=1, allow_nan=False) + "\n"
