"""What is chosen by name is named once, and the library knows the same names."""

from circuitkit import names
from circuitkit.circuits.selection import SELECTIONS
from circuitkit.discovery.method import Method
from circuitkit.discovery.methods import METHODS
from circuitkit.interventions.ablation import ABLATIONS
from circuitkit.interventions.sites import SITES
from circuitkit.metrics import METRICS
from circuitkit.prompts.columns import COLUMNS
from circuitkit.reporting.write import FORMATS
from circuitkit.validation.criteria import CRITERIA
from circuitkit.validation.criterion import Criterion
from circuitkit.zoo.catalogue import DTYPES
from circuitkit.zoo.planted import BLUEPRINTS, DIFFICULTIES


def test_every_method_goes_by_the_name_it_is_listed_under():
    assert [kind.name for kind in METHODS.values()] == list(METHODS) == list(names.METHODS)
    assert all(issubclass(kind, Method) for kind in METHODS.values())
    assert names.DEFAULT_METHOD in METHODS


def test_every_criterion_goes_by_the_name_it_is_listed_under():
    assert [each.name for each in CRITERIA.values()] == list(CRITERIA) == list(names.CRITERIA)
    assert all(isinstance(each, Criterion) for each in CRITERIA.values())


def test_methods_and_criteria_are_found_in_their_own_layers_alone():
    assert {place.rpartition(".")[0] for place in names.METHODS.values()} == {
        "circuitkit.discovery"
    }
    assert {place.rpartition(".")[0] for place in names.CRITERIA.values()} == {
        "circuitkit.validation"
    }


def test_help_lists_what_the_library_has():
    assert tuple(metric.name for metric in METRICS) == names.METRICS
    assert tuple(names.SITES) == tuple(site.name for site in SITES)
    assert tuple(COLUMNS) == names.COLUMNS
    assert tuple(DTYPES) == names.DTYPES
    assert tuple(FORMATS) == names.REPORT_FORMATS
    assert tuple(BLUEPRINTS) == names.PLANTED_MODELS
    assert tuple(DIFFICULTIES) == names.DIFFICULTIES
    assert names.ABLATIONS is ABLATIONS
    assert names.SELECTIONS is SELECTIONS
