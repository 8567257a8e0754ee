"""How a hypothesis is found: by the name of one that ships, or `ioi.py:IOIAlgorithm`."""

import inspect
from collections.abc import Mapping
from pathlib import Path

from circuitkit.abstraction.hypothesis import Hypothesis, hypothesis_code
from circuitkit.abstraction.shipped import facts, induction, ioi, planted
from circuitkit.errors import HypothesisError
from circuitkit.task import module_of, names_a_file
from circuitkit.work.text import shown

OF_TASKS: tuple[type[Hypothesis], ...] = (
    ioi.IOIByName,
    ioi.IOIByPlace,
    induction.InductionBySought,
    induction.InductionByDistance,
    facts.FactsByParts,
    facts.FactsAtSubject,
)


def shipped_hypotheses() -> Mapping[str, type[Hypothesis]]:
    """Return the hypotheses that ship, by name."""
    return {each.name: each for each in (*OF_TASKS, *planted.RIGHT, *planted.WRONG)}


def find_hypothesis(spec: str) -> Hypothesis:
    """Return the hypothesis named `spec`: one that ships, `file.py:Class`, or `file.py` with one.

    A file of Python is run.

    Raises:
        HypothesisError: there is none, or the file does not hold it.
        TaskError: the file cannot be read, or does not import.
    """
    if names_a_file(spec):
        path, _, class_name = spec.partition(":")
        return _made(_class_in(Path(path), class_name))
    known = shipped_hypotheses()
    if spec not in known:
        raise HypothesisError(
            f"hypothesis {shown(spec)}: must be one of {', '.join(known)}, or a file as "
            "ioi.py:IOIAlgorithm. It says which algorithm is judged. Check the spelling."
        )
    return _made(known[spec])


def _class_in(path: Path, class_name: str) -> type[Hypothesis]:
    module = module_of(path, "", "hypothesis file")
    classes = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Hypothesis)
        and value.__module__ == module.__name__
    }
    if class_name in classes:
        return classes[class_name]
    if not class_name and len(classes) == 1:
        return next(iter(classes.values()))
    wanted = f"the class {class_name!r}" if class_name else "exactly one class of Hypothesis"
    raise HypothesisError(
        f"hypothesis file {shown(str(path))}: must define {wanted}, got "
        f"{', '.join(sorted(classes)) or 'none'}. It says which algorithm is judged. Name one as "
        f"{path.name}:ClassName."
    )


def _made(kind: type[Hypothesis]) -> Hypothesis:
    hypothesis = kind.__new__(kind)
    with hypothesis_code(hypothesis, "making it"):
        hypothesis = kind()
    return hypothesis
