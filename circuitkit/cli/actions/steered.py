"""What `steer` and `refusal` share: prompts that should not change, tokens, and the curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cattrs

from circuitkit.cli.terminal import show_table
from circuitkit.control.steering.classes import TwoClasses, read_prompts, two_classes
from circuitkit.control.steering.effects import DoseResponse, SideEffects
from circuitkit.control.steering.vector import SteeringVector, save_vector
from circuitkit.errors import AnswerError, MethodError, OutputError
from circuitkit.model import SubjectModel
from circuitkit.prompts.encoding import answer_ids
from circuitkit.reporting.figures import line_chart_png, line_chart_svg
from circuitkit.work.files import require_writable_directory, require_writable_file, write_whole
from circuitkit.work.text import shown

FORMATS = (".svg", ".png")


def require_places(save: Path | None, output: Path | None) -> None:
    """Refuse places that cannot be written, before any work.

    Raises:
        OutputError: one cannot.
    """
    if save is not None:
        require_writable_directory(save)
    if output is not None:
        require_writable_file(output)
        if output.suffix.lower() not in FORMATS:
            raise OutputError(
                f"output {shown(str(output))}: must end in {' or '.join(FORMATS)}, got "
                f"{output.suffix or 'no suffix'!r}. It says how the curves are drawn. Name "
                "another file."
            )


def write_steered(
    vector: SteeringVector, response: DoseResponse, save: Path | None, output: Path | None
) -> None:
    """Write the direction and the picture, where they are asked for."""
    if save is not None:
        save_vector(vector, save)
    if output is not None:
        is_png = output.suffix.lower() == ".png"
        chart = response.chart()
        write_whole(output, line_chart_png(chart) if is_png else line_chart_svg(chart))


def tokens_named(texts: str, model: SubjectModel, option: str) -> tuple[int, ...]:
    """Return the tokens of texts that commas divide.

    Raises:
        MethodError: there is none.
        AnswerError: a text is not one token.
    """
    found: list[int] = []
    for text in (part for part in texts.split(",") if part.strip()):
        ids = answer_ids(text, model.tokenizer)
        if len(ids) != 1:
            raise AnswerError(
                f"{option}: each text must be one token, got {text!r} of {len(ids)}. Its "
                "probability is read. Name the first token, with its leading space if it has one."
            )
        found += ids
    if not found:
        raise MethodError(
            f"{option}: must name one token or more, got none. Their log-odds are what is watched. "
            "Give them, as ' yes,Yes': a space behind a comma is part of a token."
        )
    return tuple(found)


def numbers_named(text: str, option: str, kind: type[Any]) -> tuple[Any, ...]:
    """Return numbers that commas divide.

    Raises:
        MethodError: one is none.
    """
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise MethodError(
            f"{option}: must be numbers divided by commas, got {shown(text)}. Write 0,1,2, say."
        ) from error


def unrelated_of(path: Path | None, model: SubjectModel, bos: str) -> TwoClasses | None:
    """Return the prompts that should not change, None where there are none."""
    return None if path is None else two_classes(read_prompts(path), [], model, bos=bos)


def show_response(
    title: str, response: DoseResponse, effects: Sequence[SideEffects] | None
) -> None:
    """Show the curves as a table, with side effects where they were measured."""
    header = ["dose", *response.lines]
    header += [] if effects is None else ["KL, unrelated (nats)", "changed, unrelated"]
    rows = []
    for number, dose in enumerate(response.doses):
        row = [f"{dose:g}", *(str(line[number]) for line in response.lines.values())]
        if effects is not None:
            row += [str(effects[number].kl), str(effects[number].changed)]
        rows.append(row)
    show_table(f"{title}: {response.name}", header, rows)


def facts_of(
    vector: SteeringVector, response: DoseResponse, effects: Sequence[SideEffects] | None
) -> Mapping[str, Any]:
    """Return all that was found, for scripts."""
    return {
        "vector": {
            "origin": vector.origin,
            "site": vector.point.site,
            "layer": vector.point.layer,
            "norm": vector.norm,
            "true": vector.true,
            "false": vector.false,
        },
        "outcome": response.name,
        "doses": response.doses,
        "response": cattrs.unstructure(dict(response.lines)),
        "side_effects": None if effects is None else cattrs.unstructure(list(effects)),
    }
