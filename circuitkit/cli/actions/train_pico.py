"""What `train-pico` does."""

from pathlib import Path

from circuitkit.cli.terminal import OUT
from circuitkit.work.files import require_writable_directory
from circuitkit.zoo.pico.train import train_pico


def train(directory: Path, seed: int) -> None:
    """Train the model, and show where it is."""
    require_writable_directory(directory)
    OUT.print(str(train_pico(directory, seed=seed)), soft_wrap=True)
