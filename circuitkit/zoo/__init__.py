"""Models that ship with circuitkit, and the one function that loads any model."""

from circuitkit.zoo.catalogue import ZooModel as ZooModel
from circuitkit.zoo.catalogue import load_model as load_model
from circuitkit.zoo.catalogue import zoo_models as zoo_models
from circuitkit.zoo.dictionaries import ShippedDictionary as ShippedDictionary
from circuitkit.zoo.dictionaries import load_dictionaries as load_dictionaries
from circuitkit.zoo.dictionaries import load_dictionary as load_dictionary
from circuitkit.zoo.dictionaries import shipped_dictionaries as shipped_dictionaries
