"""A circuit, or a whole run, put on the Hugging Face Hub with a card.

circuit.json and README.md always; of a run directory what is text of it too: the record, the
picture and the report, but not scores.parquet, whose scores are all in circuit.json.
`load_circuit("hf://user/name")` reads it back through the same strict reader as a file.
"""

from collections.abc import Mapping
from pathlib import Path

from circuitkit.circuits.file import CIRCUIT_FILE, circuit_text, load_circuit
from circuitkit.errors import HubError
from circuitkit.interpretation.file import INTERPRETATION_FILE
from circuitkit.reporting.model_card import model_card
from circuitkit.study.records import load_record
from circuitkit.study.run_directory import RUN_FILE
from circuitkit.work.hub import address_of, is_address, pushed
from circuitkit.work.text import shown

CARD = "README.md"
OF_A_RUN = (
    CIRCUIT_FILE,
    "validation.json",
    "patching.json",
    INTERPRETATION_FILE,
    RUN_FILE,
    "circuit.svg",
    "report.html",
)


def push_circuit(path: str | Path, to: str | Path, *, private: bool = True) -> str:
    """Put a circuit file or a run directory on the Hub; return the address of the commit.

    A repository that is new is `private` or not; one that is there stays as it is.

    Raises:
        CircuitFileError: the circuit or the run cannot be read.
        HubError: the address is none, or the repository cannot be written.
    """
    files = files_to_push(path, to)
    address = address_of(to)
    return pushed(address, files, f"A circuit, {len(files)} files", private=private)


def files_to_push(path: str | Path, to: str | Path) -> Mapping[str, bytes]:
    """Return the files that would be pushed, by name: the card first.

    Raises:
        CircuitFileError, HubError: as `push_circuit`.
    """
    path, address = Path(path), address_of(to)
    if is_address(path):
        raise HubError(
            f"push: the circuit must be on this machine, got {shown(str(path))}. It is on the Hub "
            "already. Load it and save it first, or name a file."
        )
    if not path.is_dir():
        circuit = load_circuit(path)
        card = model_card(circuit, address)
        return {CARD: card.encode(), CIRCUIT_FILE: circuit_text(circuit).encode()}
    record = load_record(path)
    found = {name: path / name for name in OF_A_RUN if (path / name).is_file()}
    contents = {name: file.read_bytes() for name, file in found.items()}
    return {CARD: model_card(record.circuit, address, record).encode(), **contents}
