"""What `train-pico` does."""

from pathlib import Path

from circuitkit.cli.terminal import OUT, bars
from circuitkit.work.files import require_writable_directory
from circuitkit.zoo import load_model
from circuitkit.zoo.behaviours.train import train_behaviours
from circuitkit.zoo.pico.train import train_pico
from circuitkit.zoo.pico.train_dictionaries import CARD, train_pico_dictionaries


def train(directory: Path, seed: int) -> None:
    """Train the model, and show where it is."""
    require_writable_directory(directory)
    OUT.print(str(train_pico(directory, seed=seed)), soft_wrap=True)


def train_further(directory: Path, seed: int) -> None:
    """Train the model of planted behaviours, and show how well it does."""
    require_writable_directory(directory)
    OUT.print(str(train_behaviours(directory, seed=seed)), soft_wrap=True)


def train_dictionaries(directory: Path, seed: int) -> None:
    """Train the dictionaries of the model that ships, and show where they are."""
    require_writable_directory(directory)
    with bars(shown=True) as stage:
        train_pico_dictionaries(load_model("pico"), directory, stage, seed=seed)
    OUT.print(f"Written to {directory}; {CARD} says what each is worth.", soft_wrap=True)
