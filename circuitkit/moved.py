"""Names that moved. The old ones work for one version, with a DeprecationWarning.

A module that moved is found by a finder at the end of `sys.meta_path`: it is asked only for what
is not where it was. A name that moved out of a module that is still there, or is another package
now, is found by that module's `__getattr__ = old_names(__name__)`.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

MODULES = {
    "calibration": "bench.calibration",
    "calibration.false_alarms": "bench.calibration.false_alarms",
    "calibration.faults": "bench.calibration.faults",
    "calibration.page": "bench.calibration.page",
    "checkpoint": "work.checkpoint",
    "circuit": "circuits.circuit",
    "circuit_diff": "circuits.diff",
    "circuit_file": "circuits.file",
    "circuit_search": "study.search",
    "circuit_subject": "study.request",
    "contracts.hearing": "contracts.cases",
    "discovery.estimate": "discovery.time_estimate",
    "discovery.selection": "circuits.selection",
    "files": "work.files",
    "graph": "circuits.graph",
    "interpretation.attention_roles": "interpretation.roles.attention",
    "interpretation.attribution": "interpretation.sweeps.logit_attribution",
    "interpretation.causes": "interpretation.roles.causes",
    "interpretation.composition": "interpretation.weights.composition",
    "interpretation.concepts": "interpretation.directions.concepts",
    "interpretation.copying": "interpretation.roles.copying",
    "interpretation.direction_effects": "interpretation.directions.effects",
    "interpretation.evidence": "interpretation.roles.evidence",
    "interpretation.functions": "interpretation.roles.functions",
    "interpretation.head_weights": "interpretation.weights.heads",
    "interpretation.logit_lens": "interpretation.sweeps.logit_lens",
    "interpretation.patterns": "interpretation.sweeps.patterns",
    "interpretation.probes": "interpretation.directions.probes",
    "interpretation.readout": "interpretation.sweeps.answer_directions",
    "interpretation.record": "interpretation.findings",
    "interpretation.skip_trigrams": "interpretation.weights.skip_trigrams",
    "interpretation.steering": "interpretation.roles.steering",
    "interpretation.subject_noise": "interpretation.sweeps.subject_noise",
    "interpretation.tracing": "interpretation.sweeps.tracing",
    "interpretation.tried": "interpretation.roles.candidate",
    "interventions.attribution": "gradients.terms",
    "interventions.columns": "prompts.columns",
    "interventions.dead": "interventions.ablated_reads",
    "interventions.gradients": "gradients.receivers",
    "interventions.node_gradients": "gradients.nodes",
    "interventions.soft_circuit": "gradients.soft_circuit",
    "lexicon": "zoo.lexicon",
    "method_comparison": "study.method_comparison",
    "model.record": "model.recording",
    "pipeline": "study.pipeline",
    "progress": "work.progress",
    "prompt_file": "prompts.file",
    "random_circuits": "circuits.random_circuits",
    "reporting.record": "study.records",
    "scoreboard": "bench.scoreboard",
    "scoreboard.measure": "bench.scoreboard.measure",
    "scoreboard.page": "bench.scoreboard.page",
    "scoreboard.recovery": "bench.scoreboard.recovery",
    "scoreboard.run": "bench.scoreboard.run",
    "settings": "study.settings",
    "swap": "study.difference",
    "tokenization": "prompts.tokenization",
    "trial": "study.cases",
    "validation.bootstrap": "statistics.bootstrap",
    "validation.gap": "statistics.gaps",
    "validation.power": "statistics.power",
}
PACKAGES = ("calibration", "scoreboard")  # they held modules of their own

# By the module that is asked, today's place of a name that it had; "" is the package itself.
NAMES = {
    "": {
        "Swap": "study.difference:FaithfulnessDifference",
        "measure_swap": "study.difference:measure_difference",
        "show_in_notebooks": "reporting.notebook:show_in_notebooks",
    },
    "calibration.faults": {
        "Trial": "bench.calibration.faults:CaseResult",
        "pico_trials": "bench.calibration.faults:pico_cases",
        "planted_trials": "bench.calibration.faults:planted_cases",
    },
    "contracts.check": {"outcome_of": "contracts.check:outcome_of_contracts"},
    "contracts.drift": {"Change": "contracts.drift:CriterionChange"},
    "contracts.hearing": {
        "Hearing": "contracts.cases:ContractCase",
        "Court": "contracts.cases:ContractCases",
    },
    "discovery.eap_ig": {"Path": "discovery.eap_ig:IntegrationPath"},
    "discovery.estimate": {"Estimate": "discovery.time_estimate:TimeEstimate"},
    "discovery.exact_nodes": {"score_nodes": "discovery.exact_nodes:measure_nodes"},
    "interpretation.attention_roles": {"Attention": "interpretation.roles.attention:RoleAttention"},
    "interpretation.comparison": {"Match": "interpretation.comparison:MatchedPair"},
    "interpretation.direction_effects": {
        "Change": "interpretation.directions.effects:DirectionChange",
        "require_gap": "interpretation.directions.effects:require_recovery_gap",
    },
    "interpretation.directions": {
        name: f"interpretation.directions.search:{name}"
        for name in (
            "ENCODED_AND_USED",
            "ENCODED_ONLY",
            "MIN_SHARE",
            "NEGLIGIBLE",
            "NEITHER",
            "N_RANDOM",
            "SITES",
            "USED_ONLY",
            "measure_directions",
            "says",
            "selectivity",
        )
    },
    "interpretation.readout": {
        "Directions": "interpretation.sweeps.answer_directions:AnswerDirections"
    },
    "interpretation.record": {
        "DirectionRow": "interpretation.directions.search:DirectionRow",
    },
    "interpretation.roles": {
        name: f"interpretation.roles.claims:{name}"
        for name in (
            "MIN_ATTENTION",
            "RESTING",
            "VAGUE",
            "claimed",
            "find_roles",
            "looks_of",
            "roles_from",
        )
    },
    "interpretation.tried": {"Tried": "interpretation.roles.candidate:RoleCandidate"},
    "interpretation.weights": {
        name: f"interpretation.weights.products:{name}"
        for name in (
            "Best",
            "NOTHING",
            "TokenPair",
            "TopPairs",
            "VocabularyCircuit",
            "WIDTHS",
            "embeddings",
            "first_largest",
            "ov_circuit",
            "ov_factors",
            "qk_circuit",
            "qk_factors",
            "wide",
        )
    },
    "interventions.dead": {
        "Dead": "interventions.ablated_reads:AblatedReads",
        "DeadOfRun": "interventions.ablated_reads:ReadsOfRun",
        "DeadOfSums": "interventions.ablated_reads:ReadsOfSums",
    },
    "interventions.path_patching": {"Path": "interventions.path_patching:PatchedPath"},
    "model.layers": {"layer_of": "model.layers:layer_from_block"},
    "prompts": {
        **{name: f"prompts.batch:{name}" for name in ("Labels", "PromptBatch")},
        **{
            name: f"prompts.pairs:{name}"
            for name in ("END", "PromptPair", "PromptPairs", "Span", "fill", "next_word")
        },
    },
    "reporting.record": {"save_interpretation": "interpretation.file:save_interpretation"},
    "settings": {
        "ABLATIONS": "names:ABLATIONS",
        "Subject": "study.subject:Subject",
        "with_provenance": "study.recipe:with_provenance",
    },
    "swap": {
        "Swap": "study.difference:FaithfulnessDifference",
        "measure_swap": "study.difference:measure_difference",
    },
    "task": {
        name: f"prompts.splits:{name}"
        for name in (
            "MAX_HELD_OUT_DRAWS",
            "MAX_REFERENCE_FACTOR",
            "MAX_REPEATS",
            "MIN_HELD_OUT",
            "MIN_REFERENCE_PER_TEMPLATE",
            "Splits",
            "sample_held_out",
            "sample_splits",
        )
    },
    "trial": {
        "FIND_LIMIT": "study.refinding:FIND_LIMIT",
        "TRIM_SECONDS": "study.refinding:TRIM_SECONDS",
    },
    "validation.bootstrap": {"share_estimate": "statistics.shares:share_estimate"},
    "validation.criterion": {
        name: f"validation.case:{name}"
        for name in ("HeldOut", "N_CHOOSING", "N_REFOUND", "not_found_again")
    },
    "zoo.planted.blueprint": {"Match": "zoo.planted.blueprint:TokenMatch"},
}


def old_names(module: str) -> Callable[[str], Any]:
    """Return a `__getattr__` that finds the names which a module had, with a warning."""
    known = NAMES[module.removeprefix("circuitkit").removeprefix(".")]

    def find(name: str) -> Any:
        if name not in known:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place = f"circuitkit.{known[name]}"
        _warn(f"{module}.{name}", place.replace(":", "."))
        return resolve_name(place)

    return find


class MovedModules:
    """A finder and loader of modules under their old names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module that moved is now; None for every other."""
        package, _, old = name.partition(".")
        if package != "circuitkit" or old not in MODULES:
            return None
        _warn(name, f"circuitkit.{MODULES[old]}")
        return ModuleSpec(name, self, is_package=old in PACKAGES)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with the names of where it is now, and with those it had."""
        old = module.__name__.removeprefix("circuitkit.")
        now = vars(import_module(f"circuitkit.{MODULES[old]}"))
        vars(module).update({k: value for k, value in now.items() if not k.startswith("__")})
        for name, place in NAMES.get(old, {}).items():
            setattr(module, name, resolve_name(f"circuitkit.{place}"))


def find_moved_modules() -> None:
    """Let old module names be imported."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is {new} now. The old name goes in the next version.",
        DeprecationWarning,
        stacklevel=3,  # who asked; Python leaves its own import machinery out of the count
    )
