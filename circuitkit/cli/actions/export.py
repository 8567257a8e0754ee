"""What `export` does: write a circuit in the format of another program."""

from pathlib import Path

from circuitkit.cli.terminal import NOTES, OUT, show_json
from circuitkit.errors import OutputError
from circuitkit.interpretation.file import load_interpretation
from circuitkit.reporting.export import (
    export_attention,
    export_circuit,
    format_named,
    import_circuit,
)
from circuitkit.study.records import circuit_file_of
from circuitkit.work.files import require_writable_file
from circuitkit.work.text import shown

ATTENTION = "circuitsvis"  # of an interpretation, not of a circuit
ATTENTION_FILE = Path("attention.json")


def export_file(circuit: Path, format: str, output: Path | None, *, as_json: bool) -> None:
    """Write the file, and say what it cannot hold."""
    if format == ATTENTION:
        output = output or ATTENTION_FILE
        require_writable_file(output)
        found = load_interpretation(circuit) if circuit.is_dir() else None
        n = export_attention(found, output)
        notes = [f"Attention patterns of {n} prompts; nothing else of the circuit is in it."]
    else:
        output = output or Path(f"circuit{format_named(format).suffix}")
        source = circuit_file_of(circuit)
        _require_other_file(source, output)
        notes = export_circuit(import_circuit(source), output, format)
    if as_json:
        show_json({"path": str(output), "left_out": notes})
        return
    OUT.print(str(output), soft_wrap=True)
    for note in notes:
        NOTES.print(f"{format}: {note}", soft_wrap=True)


def _require_other_file(source: Path, output: Path) -> None:
    require_writable_file(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise OutputError(
            f"output {shown(str(output))}: must be another file than the circuit that is exported, "
            "got the same. It would be replaced. Name one with -o / --output."
        )
