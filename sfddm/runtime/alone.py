"""One module of a large package without the rest of it, which takes seconds to import.

The packages in between are empty while the module is imported, and forgotten afterwards, so that whoever needs more of
them gets all of it.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType


@contextmanager
def alone(packages: Mapping[str, Mapping[str, object]], without: str = "") -> Iterator[None]:
    """Import nothing but modules that are asked for by name from the packages, outer ones first.

    Args:
        packages: the attributes of each package that its modules ask it for.
        without: a module that is not there meanwhile, for packages that can do without.
    """
    names = [*packages, without] if without else [*packages]
    if sys.modules.keys() & names:  # someone has imported more already
        yield
        return
    try:
        if without:
            sys.modules[without] = None  # type: ignore[assignment]  # what the import system takes for: not there
        for name, attributes in packages.items():
            found = find_spec(name)
            sys.modules[name] = package = ModuleType(name)
            package.__path__ = list(found.submodule_search_locations or []) if found else []
            vars(package).update(attributes)
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
