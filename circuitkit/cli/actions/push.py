"""What `push` does: put a circuit on the Hugging Face Hub, or show what would be put there."""

from pathlib import Path

from circuitkit.cli.terminal import OUT, show_json, show_table
from circuitkit.reporting.hub import CARD, files_to_push, push_circuit
from circuitkit.work.hub import address_of


def push_file(circuit: Path, repository: str, *, private: bool, plan: bool, as_json: bool) -> None:
    """Push, or show the files and the card."""
    if plan:
        _show_plan(circuit, repository, as_json=as_json)
        return
    commit = push_circuit(circuit, repository, private=private)
    if as_json:
        show_json({"repository": str(address_of(repository)), "commit": commit})
        return
    OUT.print(commit, soft_wrap=True)
    OUT.print(f"circuitkit validate {address_of(repository)}", soft_wrap=True)


def _show_plan(circuit: Path, repository: str, *, as_json: bool) -> None:
    files = files_to_push(circuit, repository)
    sizes = {name: len(content) for name, content in files.items()}
    card = files[CARD].decode()
    if as_json:
        show_json({"repository": str(address_of(repository)), "files": sizes, "card": card})
        return
    rows = [(name, f"{size:,}") for name, size in sizes.items()]
    show_table(f"Would be put into {address_of(repository)}", ("file", "bytes"), rows)
    OUT.print(card, soft_wrap=True)
