"""The one file that a picture is written to."""

from pathlib import Path
from typing import Literal, get_args

from circuitkit.errors import OutputError
from circuitkit.work.files import require_writable_file

PictureFormat = Literal["svg", "png", "pdf"]


def picture_format(output: Path) -> PictureFormat:
    """Return the format that a suffix asks for, if the file can be written.

    Raises:
        OutputError: it is no such format, or cannot be written.
    """
    require_writable_file(output)
    suffix = output.suffix.removeprefix(".").lower()
    for format in get_args(PictureFormat):
        if suffix == format:
            return format  # type: ignore[no-any-return]
    raise OutputError(
        f"output {str(output)!r}: must end in one of {', '.join(get_args(PictureFormat))}, got "
        f"{output.suffix or 'no suffix'!r}. It says how the picture is drawn. Name another file."
    )
