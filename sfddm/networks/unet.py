"""diffusers' UNet2DModel without the rest of diffusers.

To import it as usual imports every network that diffusers has, and torch's compiler with them: three quarters of the
time that a stage took to begin. Here the packages in between are empty while the one module is imported, and forgotten
afterwards, so that whoever needs more of diffusers gets all of it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

PASSED = ("diffusers.models.transformers", "diffusers.models.unets")
"""Packages whose modules are imported one by one."""
NOT_NEEDED = "torch._dynamo"
"""diffusers marks layers for it, and does without where it can't be imported. What compiles imports it then."""


@contextmanager
def _alone() -> Iterator[None]:
    """Nothing but modules that are asked for by name are imported from the packages."""
    if {NOT_NEEDED, *PASSED} & sys.modules.keys():  # someone has imported more already
        yield
        return
    sys.modules[NOT_NEEDED] = None  # type: ignore[assignment]  # what the import system takes for: not there
    try:
        for name in PASSED:
            found = find_spec(name)
            sys.modules[name] = package = ModuleType(name)
            package.__path__ = list(found.submodule_search_locations or []) if found else []
        yield
    finally:
        for name in (NOT_NEEDED, *PASSED):
            sys.modules.pop(name, None)


with _alone():
    from diffusers.models.unets.unet_2d import UNet2DModel

__all__ = ["UNet2DModel"]
