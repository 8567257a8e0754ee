"""Every error that circuitkit raises on purpose.

    CircuitkitError
    ├── PromptError            a prompt set that cannot be used
    │   ├── AlignmentError     clean and corrupted differ in length, or a template in layout
    │   └── AnswerError        an answer of unknown tokens, or right and wrong at once
    ├── TaskError              unknown task, a task class or file that does not fit
    │   ├── TaskCodeError      a task's own code raised an error
    │   └── BaselineError      the model cannot do the task
    ├── ModelError             unknown model, damaged or missing weights
    │   ├── DecompositionError the senders do not sum to the residual stream
    │   └── ActivationError    NaN or infinity inside the model
    ├── DictionaryError        a sparse dictionary that cannot be read, or does not fit the model
    ├── MethodError            unknown method, or settings it cannot use
    ├── HypothesisError        an algorithm that cannot be judged, or its alignment
    │   └── TooFewError        too few prompts to judge it on
    ├── GraphError             a component or edge that does not exist
    ├── CircuitFileError       a circuit file that is damaged, of another model or schema
    ├── CriterionError         a judgement that cannot be made
    │   ├── VanishingGapError  metric of the model and of the empty circuit do not differ
    │   └── NotApplicableError a criterion that no number of pairs could measure here
    ├── ContractError          a contract that cannot be read, or asks nothing
    ├── CheckpointError        a file of results that is of other work, or damaged
    ├── MemoryBudgetError      the work does not fit in the memory allowed
    ├── WorkerError            workers that cannot be had, or are not the same as this process
    ├── GlossaryError          a name that the glossary does not hold
    ├── LogError               a log of a run that cannot be begun
    ├── HubError               a Hugging Face repository that cannot be read or written
    ├── DependencyError        an optional package that is not installed
    └── OutputError            a place that cannot be written
        └── PictureError       a picture that cannot be drawn

Messages have one form: where: rule, got value. why it matters. what to do.
"""

from typing import Any

MAX_BYTES = 1800  # of a message: what was got may be a megabyte
TAIL = 300  # bytes at its end that stay, as what to do stands there


class CircuitkitError(Exception):
    """Base of all errors raised on purpose. A long message is shown without its middle."""

    def __str__(self) -> str:
        return _shortened(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        """Let an error of any signature be read back as it is, from a worker say."""
        return _read_back, (type(self), self.args, vars(self))


def _read_back(
    kind: type[CircuitkitError], arguments: tuple[Any, ...], found: dict[str, Any]
) -> CircuitkitError:
    error = kind.__new__(kind, *arguments)
    vars(error).update(found)
    return error


def _shortened(message: str) -> str:
    data = message.encode(errors="backslashreplace")
    if len(data) <= MAX_BYTES:
        return message
    start = data[: MAX_BYTES - TAIL].decode(errors="ignore")
    return f"{start} ... ({len(data)} bytes) ... {data[-TAIL:].decode(errors='ignore')}"


class PromptError(CircuitkitError, ValueError):
    """A prompt set that cannot be used."""


class AlignmentError(PromptError):
    """Clean and corrupted prompts differ in length, or pairs of a template in layout."""


class AnswerError(PromptError):
    """An answer that the tokenizer does not know, or that is wrong as well."""


class TaskError(CircuitkitError, ValueError):
    """An unknown task, or a task class or file that does not fit."""


class TaskCodeError(TaskError):
    """A task's own code raised an error: nothing can be said of the circuit."""


class BaselineError(TaskError):
    """The model cannot do the task, so no circuit of it is worth drawing."""


class ModelError(CircuitkitError, ValueError):
    """An unknown model, or weights that are missing or damaged."""


class DecompositionError(ModelError):
    """The sum of the senders does not reproduce the residual stream."""


class ActivationError(ModelError):
    """NaN or infinity in an activation, first found for prompt number `row` of a batch."""

    def __init__(self, where: str, row: int) -> None:
        super().__init__(
            f"{where}: activations must be finite, got NaN or infinity first for prompt {row}. "
            "Every later number would be NaN. Check the weights, or use a wider --dtype."
        )
        self.where, self.row = where, row


class DictionaryError(CircuitkitError, ValueError):
    """A sparse dictionary that cannot be read, or does not fit the model."""


class MethodError(CircuitkitError, ValueError):
    """An unknown discovery method, or settings it cannot use."""


class HypothesisError(CircuitkitError, ValueError):
    """An algorithm that cannot be judged: its code, its answers, or where its variables are."""


class TooFewError(HypothesisError):
    """Too few prompts to judge an algorithm on."""


class GraphError(CircuitkitError, KeyError):
    """A component or edge that the graph does not have."""

    def __str__(self) -> str:  # KeyError shows repr(message), which hides line breaks
        return _shortened(str(self.args[0])) if self.args else ""


class CircuitFileError(CircuitkitError, ValueError):
    """A circuit file that is damaged, or belongs to another model or schema."""


class ContractError(CircuitkitError, ValueError):
    """A contract that cannot be read, or that asks nothing."""


class CheckpointError(CircuitkitError, ValueError):
    """A file of results of interrupted work that is of other work, or damaged."""


class CriterionError(CircuitkitError, ValueError):
    """A judgement that cannot be made from the data given."""


class VanishingGapError(CriterionError):
    """The metric of the whole model and of the empty circuit cannot be told apart."""


class NotApplicableError(CriterionError):
    """A criterion that cannot be measured on this circuit and graph, whatever the pairs."""


class MemoryBudgetError(CircuitkitError, MemoryError):
    """The work does not fit in the memory allowed, even in the smallest batches."""


class WorkerError(CircuitkitError, RuntimeError):
    """Workers that cannot be had, that are of another kind than this process, or keep dying."""


class LogError(CircuitkitError, RuntimeError):
    """A log of a run that cannot be begun."""


class HubError(CircuitkitError, RuntimeError):
    """A Hugging Face repository that cannot be read or written."""


class LogWarning(UserWarning):
    """A log of a run lacks something; the run is whole. The message says what and why."""


class PrecisionWarning(UserWarning):
    """Numbers too coarse for what is asked of them; the message says how coarse."""


class SampleWarning(UserWarning):
    """Pairs that can judge nothing, whatever is found; the message says how many would."""


class GlossaryError(CircuitkitError, ValueError):
    """A name that the glossary does not hold."""


class DependencyError(CircuitkitError, ImportError):
    """An optional package that is not installed."""

    def __init__(self, where: str, package: str, extra: str, why: str) -> None:
        super().__init__(
            f"{where}: {package} must be installed, got that it cannot be imported. {why} "
            f"pip install 'circuitkit-mi[{extra}]'."
        )


class OutputError(CircuitkitError, OSError):
    """A place that cannot be written."""


class PictureError(OutputError):
    """A picture that cannot be drawn; `why` says so in words that fit into a sentence."""

    def __init__(self, format: str, why: str, package: str) -> None:
        super().__init__(
            f"picture ({format}): Graphviz and Matplotlib must be able to draw it, got that {why}. "
            f"There is no picture without them. Reinstall {package}, or leave this format out."
        )
        self.why = why


class PictureWarning(UserWarning):
    """A report was written without a picture; the message says which and why."""
