"""circuitkit: find circuits in transformers, and try hard to refute them.

    Task -> PromptPairs -> SubjectModel -> scores -> Circuit -> Verdict -> Report

Each arrow is one call below; each box is plain data. The words are in docs/concepts.md.

A name is loaded when it is first used: `import circuitkit` alone loads neither torch nor a model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from circuitkit.moved import find_moved_modules, old_names

if TYPE_CHECKING:  # for type checkers: what `__getattr__` finds below, name by name
    from circuitkit.abstraction.find import find_hypothesis
    from circuitkit.abstraction.hypothesis import Hypothesis, variable
    from circuitkit.abstraction.judge import HypothesisResult
    from circuitkit.abstraction.judge_hypothesis import judge_hypothesis
    from circuitkit.circuits.circuit import Circuit, Provenance
    from circuitkit.circuits.diff import CircuitDiff, diff_circuits
    from circuitkit.circuits.file import load_circuit, save_circuit
    from circuitkit.circuits.graph import ComponentGraph, EdgeScores, NodeScores
    from circuitkit.circuits.random_circuits import (
        random_connected,
        random_like,
        random_of_profile,
        select_random,
    )
    from circuitkit.circuits.selection import (
        prune_dead_ends,
        select_above,
        select_greedy,
        select_top,
    )
    from circuitkit.contracts.asserting import assert_faithful
    from circuitkit.dictionaries.dictionary import Dictionary
    from circuitkit.dictionaries.saelens import save_dictionary
    from circuitkit.dictionaries.trial import Trial, try_dictionary
    from circuitkit.discovery.at_columns import score_at_columns
    from circuitkit.discovery.atp import ATP_STAR, score_nodes
    from circuitkit.discovery.eap import score_edges
    from circuitkit.discovery.methods import method_named, score_edges_by_column
    from circuitkit.errors import CircuitkitError, DictionaryError
    from circuitkit.interpretation.attention_view import AttentionView, attention_view
    from circuitkit.interpretation.comparison import Comparison, compare
    from circuitkit.interpretation.file import load_interpretation
    from circuitkit.interpretation.findings import Card, Interpretation, Role
    from circuitkit.interventions.ablation import (
        Ablation,
        MeanAblation,
        NoiseAblation,
        ResampleAblation,
        SuppliedAblation,
        TokenMeanAblation,
        ZeroAblation,
    )
    from circuitkit.interventions.edge_columns import column_graph
    from circuitkit.interventions.edges import measure_edges
    from circuitkit.interventions.patching import patch_activations, patch_places
    from circuitkit.interventions.path_patching import MLPs, PatchedPath, patch_paths
    from circuitkit.interventions.recorded import Direction
    from circuitkit.interventions.run_circuit import evaluate_circuits
    from circuitkit.interventions.sites import neuron_places, site_named
    from circuitkit.interventions.work import Work
    from circuitkit.metrics import (
        Accuracy,
        Agreement,
        KLDivergence,
        LogitDifference,
        LogProbability,
        Metric,
        ProbabilityDifference,
    )
    from circuitkit.model import Reading, SubjectModel, from_bridge, from_hf, load_state_dict
    from circuitkit.prompts.columns import all_positions, by_position, by_role
    from circuitkit.prompts.messages import fill_chat
    from circuitkit.prompts.pairs import PromptPair, PromptPairs, fill, next_word
    from circuitkit.prompts.splits import Splits, sample_splits
    from circuitkit.prompts.tokenization import tokenize_pairs
    from circuitkit.reporting.export import export_circuit, import_circuit
    from circuitkit.reporting.hub import push_circuit
    from circuitkit.reporting.write import write_report
    from circuitkit.statistics.bootstrap import Estimate, mean_estimate
    from circuitkit.statistics.bound import Bound
    from circuitkit.study.cases import judge
    from circuitkit.study.difference import FaithfulnessDifference, measure_difference
    from circuitkit.study.pipeline import explain, study
    from circuitkit.study.records import RunRecord, load_record, save_record
    from circuitkit.study.settings import Settings
    from circuitkit.study.subject import Subject
    from circuitkit.task import Task, find_task, registered_tasks
    from circuitkit.validation.baseline import Baseline, measure_baseline
    from circuitkit.validation.case import Case
    from circuitkit.validation.criteria import CRITERIA, Thresholds, read_thresholds
    from circuitkit.validation.criterion import Criterion
    from circuitkit.validation.curve import measure_curve
    from circuitkit.validation.faithfulness import Faithfulness, measure_faithfulness
    from circuitkit.validation.judge import judge_circuit
    from circuitkit.validation.verdict import Check, Finding, Verdict
    from circuitkit.zoo import (
        load_dictionaries,
        load_dictionary,
        load_model,
        shipped_dictionaries,
        zoo_models,
    )

    __version__: str

__all__ = [
    "ATP_STAR",
    "Ablation",
    "Accuracy",
    "Agreement",
    "AttentionView",
    "Baseline",
    "Bound",
    "CRITERIA",
    "Card",
    "Case",
    "Check",
    "Circuit",
    "CircuitDiff",
    "CircuitkitError",
    "Comparison",
    "ComponentGraph",
    "Criterion",
    "Dictionary",
    "DictionaryError",
    "Direction",
    "EdgeScores",
    "Estimate",
    "Faithfulness",
    "FaithfulnessDifference",
    "Finding",
    "Hypothesis",
    "HypothesisResult",
    "Interpretation",
    "KLDivergence",
    "LogProbability",
    "LogitDifference",
    "MLPs",
    "MeanAblation",
    "Metric",
    "NodeScores",
    "NoiseAblation",
    "PatchedPath",
    "ProbabilityDifference",
    "PromptPair",
    "PromptPairs",
    "Provenance",
    "Reading",
    "ResampleAblation",
    "Role",
    "RunRecord",
    "Settings",
    "Splits",
    "Subject",
    "SubjectModel",
    "SuppliedAblation",
    "Task",
    "Thresholds",
    "TokenMeanAblation",
    "Trial",
    "Verdict",
    "Work",
    "ZeroAblation",
    "__version__",
    "all_positions",
    "assert_faithful",
    "attention_view",
    "by_position",
    "by_role",
    "column_graph",
    "compare",
    "diff_circuits",
    "evaluate_circuits",
    "explain",
    "export_circuit",
    "fill",
    "fill_chat",
    "find_hypothesis",
    "find_task",
    "from_bridge",
    "from_hf",
    "import_circuit",
    "judge",
    "judge_circuit",
    "judge_hypothesis",
    "load_circuit",
    "load_dictionaries",
    "load_dictionary",
    "load_interpretation",
    "load_model",
    "load_record",
    "load_state_dict",
    "mean_estimate",
    "measure_baseline",
    "measure_curve",
    "measure_difference",
    "measure_edges",
    "measure_faithfulness",
    "method_named",
    "neuron_places",
    "next_word",
    "patch_activations",
    "patch_paths",
    "patch_places",
    "prune_dead_ends",
    "push_circuit",
    "random_connected",
    "random_like",
    "random_of_profile",
    "read_thresholds",
    "registered_tasks",
    "sample_splits",
    "save_circuit",
    "save_dictionary",
    "save_record",
    "score_at_columns",
    "score_edges",
    "score_edges_by_column",
    "score_nodes",
    "select_above",
    "select_greedy",
    "select_random",
    "select_top",
    "shipped_dictionaries",
    "site_named",
    "study",
    "tokenize_pairs",
    "try_dictionary",
    "variable",
    "write_report",
    "zoo_models",
]

_PLACES = {
    "abstraction.find": ("find_hypothesis",),
    "abstraction.hypothesis": ("Hypothesis", "variable"),
    "abstraction.judge": ("HypothesisResult",),
    "abstraction.judge_hypothesis": ("judge_hypothesis",),
    "circuits.circuit": ("Circuit", "Provenance"),
    "circuits.diff": ("CircuitDiff", "diff_circuits"),
    "circuits.file": ("load_circuit", "save_circuit"),
    "circuits.graph": ("ComponentGraph", "EdgeScores", "NodeScores"),
    "circuits.random_circuits": (
        "random_connected",
        "random_like",
        "random_of_profile",
        "select_random",
    ),
    "circuits.selection": ("prune_dead_ends", "select_above", "select_greedy", "select_top"),
    "contracts.asserting": ("assert_faithful",),
    "dictionaries.dictionary": ("Dictionary",),
    "dictionaries.saelens": ("save_dictionary",),
    "dictionaries.trial": ("Trial", "try_dictionary"),
    "discovery.atp": ("ATP_STAR", "score_nodes"),
    "discovery.at_columns": ("score_at_columns",),
    "discovery.eap": ("score_edges",),
    "discovery.methods": ("method_named", "score_edges_by_column"),
    "errors": ("CircuitkitError", "DictionaryError"),
    "interpretation.attention_view": ("AttentionView", "attention_view"),
    "interpretation.comparison": ("Comparison", "compare"),
    "interpretation.file": ("load_interpretation",),
    "interpretation.findings": ("Card", "Interpretation", "Role"),
    "interventions.ablation": (
        "Ablation",
        "MeanAblation",
        "NoiseAblation",
        "ResampleAblation",
        "SuppliedAblation",
        "TokenMeanAblation",
        "ZeroAblation",
    ),
    "interventions.edge_columns": ("column_graph",),
    "interventions.edges": ("measure_edges",),
    "interventions.patching": ("patch_activations", "patch_places"),
    "interventions.path_patching": ("MLPs", "PatchedPath", "patch_paths"),
    "interventions.recorded": ("Direction",),
    "interventions.run_circuit": ("evaluate_circuits",),
    "interventions.sites": ("neuron_places", "site_named"),
    "interventions.work": ("Work",),
    "metrics": (
        "Accuracy",
        "Agreement",
        "KLDivergence",
        "LogitDifference",
        "LogProbability",
        "Metric",
        "ProbabilityDifference",
    ),
    "model": ("Reading", "SubjectModel", "from_bridge", "from_hf", "load_state_dict"),
    "prompts.columns": ("all_positions", "by_position", "by_role"),
    "prompts.messages": ("fill_chat",),
    "prompts.pairs": ("PromptPair", "PromptPairs", "fill", "next_word"),
    "prompts.splits": ("Splits", "sample_splits"),
    "prompts.tokenization": ("tokenize_pairs",),
    "reporting.export": ("export_circuit", "import_circuit"),
    "reporting.hub": ("push_circuit",),
    "reporting.write": ("write_report",),
    "statistics.bootstrap": ("Estimate", "mean_estimate"),
    "statistics.bound": ("Bound",),
    "study.cases": ("judge",),
    "study.difference": ("FaithfulnessDifference", "measure_difference"),
    "study.pipeline": ("explain", "study"),
    "study.records": ("RunRecord", "load_record", "save_record"),
    "study.settings": ("Settings",),
    "study.subject": ("Subject",),
    "task": ("Task", "find_task", "registered_tasks"),
    "validation.baseline": ("Baseline", "measure_baseline"),
    "validation.criteria": ("CRITERIA", "Thresholds", "read_thresholds"),
    "validation.case": ("Case",),
    "validation.criterion": ("Criterion",),
    "validation.curve": ("measure_curve",),
    "validation.faithfulness": ("Faithfulness", "measure_faithfulness"),
    "validation.judge": ("judge_circuit",),
    "validation.verdict": ("Check", "Finding", "Verdict"),
    "zoo": (
        "load_dictionaries",
        "load_dictionary",
        "load_model",
        "shipped_dictionaries",
        "zoo_models",
    ),
}
_PLACE_OF = {name: f"circuitkit.{module}" for module, names in _PLACES.items() for name in names}


def _find(name: str) -> Any:
    """Return a public name, a module of this package, or a name of the last version."""
    if name == "__version__":
        return import_module("importlib.metadata").version("circuitkit-mi")
    if name in _PLACE_OF:
        return getattr(import_module(_PLACE_OF[name]), name)
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
    return old_names(__name__)(name)


if not TYPE_CHECKING:  # a type checker would believe in every name

    def __getattr__(name: str) -> Any:
        # Where a package has the name too, its import has bound it: see study/__init__.py.
        return globals().setdefault(name, _find(name))


def __dir__() -> list[str]:
    return sorted(__all__)  # what docs/reference/README.md groups, and nothing else


find_moved_modules()
