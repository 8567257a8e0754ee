"""What is studied and how: subject, settings, search, cases, pipeline, records.

`circuitkit.study` is this package and the public function at once: Python binds a package to its
name in the parent when anything of it is imported, so the package can be called.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *words: Any, **options: Any) -> Any:
        """Find a circuit and judge it: see `circuitkit.study.pipeline.study`."""
        return import_module("circuitkit.study.pipeline").study(*words, **options)


sys.modules[__name__].__class__ = _CallablePackage
