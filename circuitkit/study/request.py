"""What a circuit is looked at on: what was typed, else what its file says. One way for all."""

from dataclasses import dataclass, replace
from pathlib import Path

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CircuitFileError
from circuitkit.names import AUTO
from circuitkit.study.cases import require_same_tokenizer
from circuitkit.study.recipe import require_no_code
from circuitkit.study.subject import Request, Subject, subject_of


@dataclass(frozen=True)
class Overrides:
    """What was typed beside a circuit file; empty where the circuit's own is meant.

    `n` validation pairs are drawn. `task` may name a file, whose code is run then.
    """

    task: str = ""
    prompts: Path | None = None
    metric: str = ""
    model: str = ""
    n: int = 100
    seed: int | None = None
    device: str = "cpu"
    dtype: str = "auto"
    command: str = ""
    bos: str = ""
    allow_task_code: bool = False  # run the file of Python that the circuit names, if unchanged
    trust_remote_code: bool = False
    prompt_format: str = ""


def request_for(
    circuit: Circuit,
    asked: Overrides = Overrides(),
    where: str = "circuit",
    *,
    file: Path | None = None,
) -> Request:
    """Return the request whose pairs judge a circuit: what was asked, else what its recipe says.

    As many discovery pairs are drawn as found it, so that validation pairs are others. A prompt
    file that the recipe names is looked for from the working directory, then beside `file`.

    Raises:
        CircuitFileError: its own task is a file of Python, which only an explicit `task` runs, or
            `allow_task_code` if its digest was recorded.
    """
    origin, own = circuit.provenance, circuit.provenance.recipe.pairs
    is_own = not asked.task and asked.prompts is None
    task = (own.task or origin.task) if is_own and not own.prompts else asked.task
    if is_own:
        require_no_code(replace(own, task=task), where, allowed=asked.allow_task_code)
    return Request(
        task=task,
        prompts=_located(own.prompts, file) if is_own and own.prompts else asked.prompts,
        metric=asked.metric or own.metric,
        model=asked.model or origin.model or "pico",
        n=own.n or asked.n,
        seed=own_seed(circuit) if asked.seed is None else asked.seed,
        device=asked.device,
        dtype=_dtype_for(circuit, asked),
        n_validation=asked.n,
        command=asked.command,
        bos=asked.bos or own.bos,
        task_digest=own.task_digest if is_own else "",
        trust_remote_code=asked.trust_remote_code,
        prompt_format=own.prompt_format if is_own else asked.prompt_format,
        units=circuit.provenance.recipe.units,
        apart=circuit.graph.units,
    )


def _dtype_for(circuit: Circuit, asked: Overrides) -> str:
    """Return the type to compute in: that in which the circuit was found, where auto is asked."""
    recipe = circuit.provenance.recipe
    is_known = bool(recipe.method) and "dtype" not in recipe.unknown
    return recipe.dtype if asked.dtype == AUTO and is_known else asked.dtype


def _located(prompts: str, file: Path | None) -> Path:
    beside = Path(prompts) if file is None else file.parent / prompts
    return beside if beside.exists() and not Path(prompts).exists() else Path(prompts)


def own_seed(circuit: Circuit) -> int:
    """Return the seed that drew the pairs of a circuit, or else that of its search."""
    recipe = circuit.provenance.recipe
    return recipe.pairs.seed if recipe.pairs.n else recipe.seed


def subject_of_circuit(
    circuit: Circuit, path: Path, asked: Overrides, *, anyway: bool = False
) -> Subject:
    """Return the subject that a circuit belongs to, with validation pairs that it did not see.

    `anyway`: take other weights or another tokenizer than those it was found with.

    Raises:
        CircuitFileError: the weights or the tokenizer are others, or its task is a file of Python.
        TaskError, ModelError, PromptError: they cannot be loaded or drawn.
    """
    where = f"circuit file {str(path)!r}"
    subject = subject_of(request_for(circuit, asked, where, file=path))
    if not anyway:
        _require_same_weights(circuit, subject, where)
    return subject


def _require_same_weights(circuit: Circuit, subject: Subject, where: str) -> None:
    remedy = "Load that tokenizer, or go on all the same with --anyway."
    require_same_tokenizer(circuit, subject.model, where, remedy)
    expected = circuit.provenance.model_digest
    if expected and not subject.model.has_weights(expected):
        raise CircuitFileError(
            f"{where}: must be of the model at hand, got weights {subject.model.digest} where it "
            f"was found in {expected}. Its claim is about other weights. Load that model, or go on "
            "all the same with --anyway."
        )
