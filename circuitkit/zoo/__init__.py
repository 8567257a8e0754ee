"""Models that ship with circuitkit, and the one function that loads any model."""

from circuitkit.zoo.catalogue import ZooModel as ZooModel
from circuitkit.zoo.catalogue import load_model as load_model
from circuitkit.zoo.catalogue import zoo_models as zoo_models
