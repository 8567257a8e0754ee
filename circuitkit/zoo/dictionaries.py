"""The dictionaries that ship, by name: `pico:m3` and so on, each a folder as SAELens writes it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from circuitkit.dictionaries.dictionary import Dictionary
from circuitkit.dictionaries.reading import load_dictionaries as read_dictionaries
from circuitkit.dictionaries.reading import load_dictionary as read_dictionary
from circuitkit.dictionaries.transcoder_sets import TranscoderSet
from circuitkit.errors import DictionaryError
from circuitkit.work.text import shown

PREFIX = "pico:"
PICO = Path(__file__).parent / "pico" / "dictionaries"
N_LAYERS = 4


@dataclass(frozen=True)
class ShippedDictionary:
    """A dictionary that ships: its name, what it is, and the folder of its files."""

    name: str
    description: str
    directory: Path


def shipped_dictionaries() -> tuple[ShippedDictionary, ...]:
    """Return the dictionaries that ship."""
    found = []
    for layer in range(N_LAYERS):
        what = f"SAE of pico's m{layer}: 512 features of what the MLP writes"
        found.append(ShippedDictionary(f"pico:m{layer}", what, PICO / f"m{layer}"))
    for layer in range(N_LAYERS):
        name = f"m{layer}-transcoder"
        what = f"transcoder of pico's m{layer}: 512 features of what the MLP reads"
        found.append(ShippedDictionary(f"pico:{name}", what, PICO / name))
    return tuple(found)


def shipped_folders(model: str, end: str = "") -> tuple[Path, ...]:
    """Return the folders of the dictionaries that ship for the MLPs of a model, by layer.

    `end` is "" for SAEs and "-transcoder" for transcoders. Empty where none ship.
    """
    known = {each.name: each.directory for each in shipped_dictionaries()}
    names = [f"{model}:m{layer}{end}" for layer in range(N_LAYERS)]
    return tuple(known[name] for name in names if name in known)


def shipped_folder(name: str) -> Path:
    """Return the folder of a dictionary that ships.

    Raises:
        DictionaryError: there is none of this name.
    """
    known = {each.name: each.directory for each in shipped_dictionaries()}
    if name not in known:
        raise DictionaryError(
            f"dictionary {shown(name)}: must be one of {', '.join(known)}, or a folder. No other "
            "ships. Choose one, or give the path of a folder."
        )
    return known[name]


def load_dictionaries(name: str | Path) -> tuple[Dictionary, ...] | TranscoderSet:
    """Return the dictionary that ships by its name, or all of a folder.

    A set of transcoders is one object.

    Raises:
        DictionaryError: there is none, one is damaged, or says what cannot be honoured.
    """
    if str(name).startswith(PREFIX):
        return (load_dictionary(name),)
    return read_dictionaries(name)


def load_dictionary(name: str | Path) -> Dictionary:
    """Return a dictionary that ships by its name, as `pico:m3`, or that of a folder or file.

    Those that ship are stored in half precision, and returned in float32.

    Raises:
        DictionaryError: there is none, it is damaged, or it says what cannot be honoured.
    """
    if not str(name).startswith(PREFIX):
        return read_dictionary(name)
    found = read_dictionary(shipped_folder(str(name))).to(torch.float32)
    return replace(found, name=str(name))
