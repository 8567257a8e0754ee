"""circuitkit: find circuits in transformers, and try hard to refute them.

    Task -> PromptPairs -> SubjectModel -> scores -> Circuit -> Verdict -> Report

Each arrow is one call below; each box is plain data. The words are in docs/concepts.md.
"""

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
from circuitkit.discovery.atp import ATP_STAR, score_nodes
from circuitkit.discovery.eap import score_edges
from circuitkit.discovery.methods import method_named, score_edges_by_column
from circuitkit.errors import CircuitkitError
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
from circuitkit.model import Reading, SubjectModel, from_bridge, load_state_dict
from circuitkit.prompts.columns import all_positions, by_position, by_role
from circuitkit.prompts.pairs import PromptPair, PromptPairs, fill, next_word
from circuitkit.prompts.splits import Splits, sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.reporting.notebook import show_in_notebooks
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
from circuitkit.zoo import load_model, zoo_models

__all__ = [
    "ATP_STAR",
    "Ablation",
    "Accuracy",
    "Agreement",
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
    "Direction",
    "EdgeScores",
    "Estimate",
    "Faithfulness",
    "Finding",
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
    "FaithfulnessDifference",
    "Task",
    "Thresholds",
    "TokenMeanAblation",
    "Verdict",
    "Work",
    "ZeroAblation",
    "all_positions",
    "assert_faithful",
    "by_position",
    "by_role",
    "compare",
    "diff_circuits",
    "evaluate_circuits",
    "explain",
    "fill",
    "find_task",
    "from_bridge",
    "judge",
    "judge_circuit",
    "load_circuit",
    "load_interpretation",
    "load_model",
    "load_record",
    "load_state_dict",
    "mean_estimate",
    "measure_baseline",
    "measure_curve",
    "measure_edges",
    "measure_faithfulness",
    "measure_difference",
    "method_named",
    "neuron_places",
    "next_word",
    "patch_activations",
    "patch_paths",
    "patch_places",
    "prune_dead_ends",
    "random_connected",
    "random_like",
    "random_of_profile",
    "read_thresholds",
    "registered_tasks",
    "sample_splits",
    "save_circuit",
    "save_record",
    "score_edges",
    "score_edges_by_column",
    "score_nodes",
    "select_above",
    "select_greedy",
    "select_random",
    "select_top",
    "show_in_notebooks",
    "site_named",
    "study",
    "tokenize_pairs",
    "write_report",
    "zoo_models",
]

show_in_notebooks()  # circuits, heat maps and curves: see reporting/notebook.py
