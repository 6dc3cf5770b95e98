"""SFDDM: single-fold distillation of diffusion models, from one declarative spec or a program of one's own."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfddm.api import Model, distil, evaluate, load, load_teacher, recipe, train_teacher

__all__ = ["Model", "distil", "evaluate", "load", "load_teacher", "recipe", "train_teacher"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # Commands and stages import this package too, and what is behind these names imports torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sfddm import api

    return getattr(api, name)
