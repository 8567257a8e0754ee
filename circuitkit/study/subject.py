"""What is studied: a behaviour in a model, and how a request becomes one."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from circuitkit.circuits.recipe import UnitsRecipe
from circuitkit.circuits.units import Units
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import ABLATIONS, Ablation, ablation_named
from circuitkit.metrics import LogitDifference, Metric, metric_named
from circuitkit.model import SubjectModel
from circuitkit.prompts.file import discovery_pairs, splits_of
from circuitkit.prompts.formats.read import dealt, read_prompts
from circuitkit.prompts.splits import Splits, sample_held_out, sample_splits
from circuitkit.study.units import as_units, choose_units, require_kind
from circuitkit.task import Task, find_task
from circuitkit.validation.case import HeldOut
from circuitkit.work.text import brief, shown
from circuitkit.zoo import load_model


@dataclass(frozen=True)
class Request:
    """What a command was asked to study, as typed."""

    task: str = ""
    prompts: Path | None = None
    metric: str = ""
    model: str = "pico"
    n: int = 100
    seed: int = 0
    device: str = "cpu"
    dtype: str = "auto"  # as the weights are stored
    n_validation: int | None = None
    discovery_only: bool = False  # all lines of a prompt file, none held back
    command: str = ""  # what to type to ask the same again
    bos: str = "auto"  # which prompts begin with the beginning-of-sequence token
    task_digest: str = ""  # of the task's file of Python: another is not run; empty: any
    trust_remote_code: bool = False  # run the Python files of the model's directory or page
    prompt_format: str = ""  # of the prompt file, as read_prompts takes it; empty: recognised
    units: UnitsRecipe = field(default_factory=UnitsRecipe)  # to be chosen on the discovery pairs
    apart: tuple[Units, ...] = ()  # or those that a circuit has


@dataclass(frozen=True)
class Subject:
    """What is studied: a behaviour (name, metric, pairs) in a model, and how it was asked for.

    `source` is the task that drew the pairs, None for pairs of a file. `seed` drew them. `request`
    is what was asked for, where it came from one. `reasons` are sentences: how the model was taken
    apart.
    """

    task: str
    description: str
    metric: Metric
    model: SubjectModel
    splits: Splits
    command: str = ""
    source: Task | None = None
    seed: int = 0
    request: Request = field(default_factory=Request)
    reasons: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return brief(
            f"Subject({self.task} in {self.model.name}, {self.metric.name}, {self.splits!r})"
        )

    @cached_property
    def held_out(self) -> dict[str, HeldOut]:
        """Pairs of other kinds than those of discovery, with mean ablation made for each."""
        if self.source is None:
            return {}
        drawn = sample_held_out(
            self.source,
            self.model.tokenizer,
            self.splits,
            n=len(self.splits.validation),
            seed=self.seed,
            bos=self.request.bos,
        )
        return {
            kind: HeldOut(pairs, {name: ablation_named(name, reference) for name in ABLATIONS})
            for kind, (pairs, reference) in drawn.items()
        }

    @cached_property
    def ablations(self) -> dict[str, Ablation]:
        """Every ablation by name, each made once so that means are computed once."""
        return {name: ablation_named(name, self.splits.reference) for name in ABLATIONS}


def subject_of(request: Request, loaded: SubjectModel | None = None) -> Subject:
    """Return what is studied. Names are checked before the model is loaded.

    `loaded` is the model where the caller has it already; the request's is not loaded then.

    Raises:
        MethodError: neither or both of task and prompt file, or an unknown metric.
        TaskError, PromptError, ModelError: as finding, reading and loading raise them.
    """
    if bool(request.task) == (request.prompts is not None):
        got = "both" if request.task else "neither"
        raise MethodError(
            f"task: must be given as TASK or as --prompts, got {got}. It says what to measure. "
            "Try `circuitkit run ioi`, or see `circuitkit tasks`."
        )
    if request.prompts is not None:
        require_kind(request.units)
        return _in_units(_subject_of_file(request, request.prompts, loaded))
    if request.prompt_format:
        raise MethodError(
            "--format, --columns: must come with a prompt file, got "
            f"{shown(request.prompt_format)} with task {shown(request.task)}. It says "
            "how a file is read. Give --prompts FILE, or leave --format and --columns out."
        )
    task = find_task(request.task, digest=request.task_digest)
    metric = metric_of(task, request.metric)
    require_kind(request.units)
    model = loaded or _loaded(request)
    return _in_units(subject_of_task(task, metric, model, request))


def _in_units(subject: Subject) -> Subject:
    """Return the same subject with its MLPs taken apart as the request says."""
    asked, model = subject.request, subject.model
    if asked.apart:
        return replace(subject, model=as_units(model, asked.apart, asked.units.dictionaries))
    if not asked.units.kind:
        return subject
    found = choose_units(model, subject.splits.discovery, subject.metric, asked.units)
    return replace(subject, model=found.model, reasons=found.reasons)


def metric_of(task: Task, name: str) -> Metric:
    """Return the metric of this name: a task's own has a name that only the task knows.

    Raises:
        MethodError: there is none.
    """
    return task.metric if name in ("", task.metric.name) else metric_named(name)


def _loaded(request: Request) -> SubjectModel:
    return load_model(
        request.model,
        device=request.device,
        dtype=request.dtype,
        trust_remote_code=request.trust_remote_code,
    )


def subject_of_task(task: Task, metric: Metric, model: SubjectModel, request: Request) -> Subject:
    """Return a task in a model as what is studied, on as many pairs as the request says.

    Raises:
        TaskError: the task yields too few different pairs.
        PromptError: a pair does not fit the tokenizer or the model's vocabulary.
    """
    splits = sample_splits(
        task,
        model.tokenizer,
        n=request.n,
        seed=request.seed,
        n_validation=request.n_validation,
        bos=request.bos,
    )
    model.require_vocabulary(splits.discovery, splits.validation, splits.reference)
    return Subject(
        task.name,
        task.description,
        metric,
        model,
        splits,
        request.command,
        source=task,
        seed=request.seed,
        request=request,
    )


def _subject_of_file(request: Request, path: Path, loaded: SubjectModel | None) -> Subject:
    metric = metric_named(request.metric) if request.metric else LogitDifference()
    found = read_prompts(path, request.prompt_format)
    lines = dealt(found, seed=request.seed, n=request.n, n_validation=request.n_validation)
    model = loaded or _loaded(request)
    tokenizer, bos, drops = model.tokenizer, request.bos, found.is_foreign
    if request.discovery_only:
        pairs = discovery_pairs(lines, tokenizer, bos=bos, drop_misaligned=drops)
        splits = Splits(pairs, pairs, pairs)
    else:
        splits = splits_of(lines, tokenizer, seed=request.seed, bos=bos, drop_misaligned=drops)
    model.require_vocabulary(splits.discovery, splits.validation, splits.reference)
    return Subject(
        path.stem,
        f"Pairs of {path.name}",
        metric,
        model,
        splits,
        request.command,
        seed=request.seed,
        request=request,
    )
