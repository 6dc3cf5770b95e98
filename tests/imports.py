"""Which modules of this repository a module imports, directly and through others, lazily or not."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("sfddm", "stages")


def closure(module: str, stop: tuple[str, ...] = ()) -> set[str]:
    """Paths of all modules of this repository that `module` reaches, itself included; `stop` lists the beginnings of
    paths that are left out, with what is reached through them alone."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if path is None or path in reached or path.startswith(stop):
            continue
        reached.add(path)
        waiting.extend(_imported(ROOT / path))
    return reached


def _path(module: str) -> str | None:
    base = module.replace(".", "/")
    return next((path for path in (f"{base}.py", f"{base}/__init__.py") if (ROOT / path).is_file()), None)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
