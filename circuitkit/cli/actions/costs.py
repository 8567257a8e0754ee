"""What `models --model` and `--plan` show: what a model is, and what the work will take."""

from dataclasses import asdict, replace

from circuitkit.cli.actions.requests import model_for
from circuitkit.cli.options import AnyModel, Machine, Plannable, ShownAtOnce
from circuitkit.cli.terminal import OUT, filled, show_json, show_table
from circuitkit.discovery.time_estimate import duration_text
from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.study.choices import affordable
from circuitkit.study.cost import TIMED, Cost, cost_of, random_pairs
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject

MB, GB = 1e6, 1e9


def show_model(what: AnyModel, n_tokens: int, machine: Machine, shown: ShownAtOnce) -> None:
    """Load a model, and show what it is and will take."""
    if n_tokens < 1 or what.n < 1:
        raise PromptError(
            f"--tokens, --n: must be at least 1, got {n_tokens} and {what.n}. Nothing could be "
            "timed. Say how long prompts will be, and how many pairs."
        )
    model = model_for(what, machine)
    cost = cost_of(model, random_pairs(model, n_tokens), n_pairs=what.n)
    show_cost(cost, [], as_json=shown.as_json)


def show_plan(subject: Subject, settings: Settings, pairs: PromptPairs, shown: Plannable) -> None:
    """Show what a command would take on these pairs, and what it would do; do nothing."""
    named = () if settings.is_automatic else (settings.method,)
    methods = tuple(dict.fromkeys((*TIMED, *named)))
    cost = cost_of(subject.model, pairs, subject.metric, n_pairs=len(pairs), methods=methods)
    says = [*affordable(subject, settings).reasons] if settings.is_automatic else []
    show_cost(cost, says, as_json=shown.as_json)


def show_cost(cost: Cost, says: list[str], *, as_json: bool) -> None:
    """Print a cost as a table, and sentences beside."""
    if as_json:
        show_json(asdict(replace(cost, seconds=dict(cost.seconds))) | {"says": says})
        return
    rows = [
        ("family", cost.family),
        ("parameters", f"{cost.n_parameters:,}"),
        ("layers, heads, d_model", f"{cost.n_layers}, {cost.n_heads}, {cost.d_model}"),
        ("edges between components", f"{cost.n_edges:,} between {cost.n_components:,}"),
        ("longest prompt", f"{cost.n_ctx:,} tokens"),
        ("weights", f"{_size(cost.weight_bytes)} in {cost.dtype} on {cost.device}"),
        (f"a pair of {cost.n_tokens} tokens", _size(cost.pair_bytes)),
        (f"one run of {cost.n_pairs} pairs", f"about {cost.run_seconds:.2g} s"),
        *(
            (f"{name} on {cost.n_pairs} pairs", _duration(seconds))
            for name, seconds in cost.seconds.items()
        ),
        ("digest", cost.digest),
    ]
    show_table(cost.model, ("what", "value"), rows)
    for sentence in says:
        OUT.print(filled(sentence))


def _size(n_bytes: float) -> str:
    return f"{n_bytes / GB:.3g} GB" if n_bytes >= GB / 10 else f"{n_bytes / MB:.3g} MB"


def _duration(seconds: float) -> str:
    return "under 1 s" if seconds < 1 else f"about {duration_text(seconds)}"
