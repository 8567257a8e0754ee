"""Reading a dictionary from a file or a folder, whichever tool wrote it."""

from pathlib import Path

from circuitkit.dictionaries.dictionary import Dictionary
from circuitkit.dictionaries.formats import (
    read_dictionary_learning,
    read_gemma_scope,
    read_sparsify,
)
from circuitkit.dictionaries.saelens import read_saelens
from circuitkit.dictionaries.transcoder_sets import TranscoderSet, read_transcoder_set
from circuitkit.errors import DictionaryError
from circuitkit.work.text import shown

READERS = {  # the file by which a layout is known, and its reader, given the folder
    "sae_weights.safetensors": read_saelens,
    "sae.safetensors": read_sparsify,
    "ae.pt": read_dictionary_learning,
}
PARAMETERS = ("params.npz", "params.safetensors")  # of Gemma Scope, given the file
SETS = "config.yaml"


def load_dictionary(path: str | Path) -> Dictionary:
    """Return the dictionary in a folder or file, without running anything that it holds.

    Raises:
        DictionaryError: there is none, it is damaged, or it says what cannot be honoured.
    """
    found = load_dictionaries(path)
    if isinstance(found, TranscoderSet) or len(found) != 1:
        n = len(found.transcoders if isinstance(found, TranscoderSet) else found)
        raise DictionaryError(
            f"dictionary {shown(str(path))}: must be one dictionary, got {n}. Which is meant is "
            "not clear. Name the folder of one, or use load_dictionaries."
        )
    return found[0]


def load_dictionaries(path: str | Path) -> tuple[Dictionary, ...] | TranscoderSet:
    """Return the dictionary, or all of them, in a folder; a set of transcoders as one object.

    Raises:
        DictionaryError: there is none, one is damaged, or says what cannot be honoured.
    """
    place = Path(path)
    own = _one(place)
    if own is not None:
        return (own,)
    if (place / SETS).is_file():
        return read_transcoder_set(place)
    folders = sorted(each for each in place.iterdir()) if place.is_dir() else []
    found = tuple(each for folder in folders if (each := _one(folder)) is not None)
    if not found:
        known = ", ".join((*READERS, *PARAMETERS, SETS))
        raise DictionaryError(
            f"dictionary {shown(str(path))}: must hold one of {known}, got none. No layout of a "
            "known tool is there. Give the folder or the file of the weights."
        )
    return found


def _one(place: Path) -> Dictionary | None:
    """Return the dictionary of a folder, or of the file that it is known by."""
    if place.is_file():
        if place.name in READERS:
            return READERS[place.name](place.parent)
        return read_gemma_scope(place) if place.name in PARAMETERS else None
    for name, read in READERS.items():
        if (place / name).is_file():
            return read(place)
    for name in PARAMETERS:
        if (place / name).is_file():
            return read_gemma_scope(place / name)
    return None
