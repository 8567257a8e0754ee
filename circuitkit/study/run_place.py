"""Where a run is written, so that no run is lost to another one that happens to have its name.

    identity   a digest of what finds and judges the circuit: weights, tokenizer, pairs, metric,
               settings. Device, memory, batches and where it was typed make no difference
    place      a directory of the same identity is that run, and is replaced;
               one of another identity stays: a directory that was asked for is refused, and a name
               that was made gets the identity behind it, NAME--1a2b3c4d

Two models in folders of one name have other weights, so their runs have other identities.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cattrs

from circuitkit.errors import CircuitkitError, OutputError
from circuitkit.prompts.tokenization import tokenizer_digest
from circuitkit.study.records import load_run_info
from circuitkit.study.run_directory import RUN_FILE
from circuitkit.study.settings import Settings, method_of
from circuitkit.study.subject import Subject
from circuitkit.work.directories import require_replaceable
from circuitkit.work.reading import DAMAGED
from circuitkit.work.text import shown

UNKNOWN = "unknown"  # of a run that says nothing of its identity: no other run has it


def identity_of(subject: Subject, settings: Settings) -> str:
    """Return what distinguishes a run from others, as eight hex digits."""
    splits, model = subject.splits, subject.model
    how = replace(
        settings,
        method_settings=_method_settings(settings),
        memory=None,
        batch_size=None,
        anyway=False,
        checkpoint=None,
    )
    parts = (
        model.digest,
        tokenizer_digest(model.tokenizer),
        str(model.dtype),
        subject.task,
        "" if subject.source is None else subject.source.source_digest,
        subject.metric.name,
        *(split.digest for split in (splits.discovery, splits.validation, splits.reference)),
        how,
        *([subject.request.units] if subject.request.units.kind else []),
    )
    return hashlib.sha256(repr(parts).encode(errors="replace")).hexdigest()[:8]


def _method_settings(settings: Settings) -> Mapping[str, Any]:
    """Return all settings of the method, those left at their default too; as typed if unknown."""
    try:
        return dict(sorted(asdict(method_of(settings)).items()))  # type: ignore[call-overload]
    except CircuitkitError:
        return dict(settings.method_settings)


def identity_in(directory: Path) -> str:
    """Return the identity of the run in a directory; empty where there is none."""
    path = directory / RUN_FILE
    if not path.exists():
        return ""
    try:
        return load_run_info(path).identity or UNKNOWN
    except (*DAMAGED, cattrs.BaseValidationError):
        return UNKNOWN


def place_of_run(directory: Path, identity: str, *, asked: bool, force: bool = False) -> Path:
    """Return where a run of this identity goes: the directory, or another beside it.

    `asked` says that someone named the directory, which must be free then; `force` takes it.

    Raises:
        OutputError: it holds another run, or the one beside it cannot be written.
    """
    if force or identity_in(directory) in ("", identity):
        return directory
    beside = directory.with_name(f"{directory.name}--{identity}")
    if asked or identity_in(beside) not in ("", identity):
        raise OutputError(
            f"run directory {shown(str(directory))}: must be new, or hold an earlier run of the "
            "same recipe, got a run of another model, task or recipe. It would be lost. Name "
            "another directory with --name or -o / --output, or replace it with --force."
        )
    require_replaceable(beside)
    return beside
