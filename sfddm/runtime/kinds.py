"""One module for each kind: a section of a spec that says `kind: any-step` is carried out by `any_step.py`.

Modules that are found by name are imported only when a spec asks for them, and stay out of each other's fingerprints.
"""

from importlib import import_module
from types import ModuleType
from typing import Any, get_args, get_type_hints

SCORERS = "sfddm.evaluation.scorers"
PACKAGES = {
    "data": "sfddm.data.sets",
    "scorer": SCORERS,
    "distill": "sfddm.methods",
    "terms": "sfddm.methods.terms",
    "evaluate": SCORERS,
}
"""What comes in several kinds, four stages and the terms of a loss: the package with a module for each."""


def kinds_of(union: Any) -> list[str]:
    """The kinds of a union of spec classes, in its order."""
    return [get_args(get_type_hints(member)["kind"])[0] for member in get_args(union)]


def module_name(what: str, kind: str) -> str:
    """The dotted name of the module that carries out a kind."""
    return f"{PACKAGES[what]}.{kind.replace('-', '_')}"


def modules_of(stage: str, kinds: str) -> list[str]:
    """The modules that carry out a stage's kinds, which are joined by +; of a student its method comes first."""
    names = kinds.split("+")
    return [module_name("terms" if stage == "distill" and place else stage, kind) for place, kind in enumerate(names)]


def import_kind(what: str, kind: str) -> ModuleType:
    """The module that carries out a kind."""
    return import_module(module_name(what, kind))
