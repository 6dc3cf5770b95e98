"""One module for each kind: a section of a spec that says `kind: any-step` is carried out by `any_step.py`.

Modules that are found by name are imported only when a spec asks for them, and stay out of each other's fingerprints.
"""

from importlib import import_module
from types import ModuleType

PACKAGES = {"data": "sfddm.data.sets", "distill": "sfddm.methods", "terms": "sfddm.methods.terms"}
"""What comes in several kinds, the stages data and distill and the terms of a loss: the package with their modules."""


def module_name(what: str, kind: str) -> str:
    """The dotted name of the module that carries out a kind."""
    return f"{PACKAGES[what]}.{kind.replace('-', '_')}"


def import_kind(what: str, kind: str) -> ModuleType:
    """The module that carries out a kind."""
    return import_module(module_name(what, kind))
