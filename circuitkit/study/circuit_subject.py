"""A circuit file, and what it is looked at on: what was typed, else what the file says."""

from pathlib import Path

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CircuitFileError
from circuitkit.study.cases import require_same_tokenizer
from circuitkit.study.subject import Request, Subject, subject_of


def subject_of_circuit(
    circuit: Circuit,
    path: Path,
    *,
    task: str = "",
    model: str = "",
    prompts: Path | None = None,
    metric: str = "",
    n: int = 100,
    seed: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    anyway: bool = False,
    command: str = "",
    bos: str = "auto",
) -> Subject:
    """Return the subject that a circuit belongs to, with `n` validation pairs that it did not see.

    `anyway`: take other weights or another tokenizer than those it was found with.

    Raises:
        CircuitFileError: the weights or the tokenizer are others.
        TaskError, ModelError, PromptError: they cannot be loaded or drawn.
    """
    origin = circuit.provenance
    request = Request(
        task or ("" if prompts else origin.task),
        prompts,
        metric or str(origin.settings.get("metric", "")),
        model or origin.model or "pico",
        int(origin.settings.get("n_discovery", n)),
        origin.seed if seed is None else seed,
        device,
        dtype,
        n_validation=n,
        command=command,
        bos=bos,
    )
    subject = subject_of(request)
    if not anyway:
        _require_same_weights(circuit, subject, f"circuit file {str(path)!r}")
    return subject


def _require_same_weights(circuit: Circuit, subject: Subject, where: str) -> None:
    remedy = "Load that tokenizer, or go on all the same with --anyway."
    require_same_tokenizer(circuit, subject.model, where, remedy)
    expected = circuit.provenance.model_digest
    if expected and expected != subject.model.digest:
        raise CircuitFileError(
            f"{where}: must be of the model at hand, got weights {subject.model.digest} where it "
            f"was found in {expected}. Its claim is about other weights. Load that model, or go on "
            "all the same with --anyway."
        )
