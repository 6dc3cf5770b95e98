"""Which code decides a number: a hash of the definitions that a stage reaches through its imports.

Comments, docstrings, annotations, layout, the text of errors, checks of specs and the module in which a definition is
written do not count, so prose and moves change no fingerprint. What is left does: DVC tracks the fingerprints of
code.yaml as params, a stage refuses to run while they are out of date, and checkpoints and cached trajectories carry
them in their keys.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import Factory, frozen

INSTALLED = Path(__file__).parents[2]
PACKAGES = ("sfddm", "stages")
LEFT_OUT = (
    "sfddm.errors",
    "sfddm.spec.checks", "sfddm.spec.fields", "sfddm.spec.parse", "sfddm.spec.read",
    "sfddm.spec.safe_yaml", "sfddm.spec.schema",  # they read and check specs, whose values are params of their own
    "sfddm.runtime",
    "sfddm.pipeline.git", "sfddm.pipeline.lock", "sfddm.pipeline.params", "sfddm.pipeline.paths",
    "sfddm.tracking.live",  # curves of trainings that still run
    "sfddm.training.checkpoints", "sfddm.training.guard",
    "stages.harness", "stages.parent", "stages.torchrun",
)  # fmt: skip
"""Modules and packages that decide no number; what is reached through them alone is left out too."""
DIGITS = 16
"""Hexadecimal digits of a fingerprint."""
UNCOUNTED = ("annotation", "returns", "ctx", "kind", "type_comment", "type_params")
"""Fields of syntax trees that decide no number, or that only some versions of Python have."""
Binding = tuple[str, str | None]
"""A module, and a name in it; None for the module itself."""


@frozen
class _Module:
    """A module's statements by the names that they bind, and what its imports bind."""

    effects: list[ast.stmt] = Factory(list)
    """Statements that bind no name: they run whenever the module is imported."""
    definitions: dict[str, list[ast.stmt]] = Factory(dict)
    imports: dict[str, Binding] = Factory(dict)

    def running(self, name: str | None) -> Iterator[ast.stmt]:
        """What decides a name of the module, or all of it: its definition, and what importing the module does."""
        yield from self.effects
        for bound, statements in self.definitions.items():
            if name in (None, bound):
                yield from statements


def fingerprint(*modules: str, root: Path = INSTALLED) -> str:
    """The hash of all that these modules define or reach: DIGITS hexadecimal digits.

    Args:
        modules: dotted names of modules of this repository.
        root: the folder that holds the repository's packages; by default that of the running code.
    """
    waiting: list[Binding] = [(module, None) for module in modules]
    seen: set[Binding] = set()
    reached: set[str] = set()
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen or _left_out(module):
            continue
        seen.add((module, name))
        texts, used = _running(root, module, name)
        reached |= texts
        waiting.extend(used)
    return hashlib.sha256("\n".join(sorted(reached)).encode()).hexdigest()[:DIGITS]


def _left_out(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in LEFT_OUT)


@cache
def _running(root: Path, module: str, name: str | None) -> tuple[frozenset[str], frozenset[Binding]]:
    """What decides a name of a module, as text, and what that names in turn."""
    read = _read(root, module)
    statements = list(read.running(name))
    used = (binding for statement in statements for binding in _used(module, read, statement))
    return frozenset(map(_text, statements)), frozenset(used)


def _used(module: str, read: _Module, statement: ast.stmt) -> Iterator[Binding]:
    """The definitions of this repository that a statement of a module names."""
    nodes = list(_walk(statement))
    members = {node.value: node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if not isinstance(node, ast.Name):
            continue
        if node.id in read.definitions:
            yield module, node.id
        elif node.id in read.imports:
            origin, name = read.imports[node.id]
            yield origin, name or members.get(node)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a syntax tree but checks, and the types of fields: whoever uses one names its class."""
    yield node
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.AnnAssign) and name == "annotation":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_silent(child):
                yield from _walk(child)


@cache
def _read(root: Path, module: str) -> _Module:
    path = _path(root, module)
    tree = ast.parse(path.read_text(encoding="utf-8") if path else "")
    read = _Module()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                bound = (inner, None) if _path(root, inner) else (node.module, alias.name)
                read.imports[alias.asname or alias.name] = bound
    for statement in tree.body:
        if _is_silent(statement):
            continue
        names = list(_bound(statement))
        for name in names:
            read.definitions.setdefault(name, []).append(statement)
        if not names and not isinstance(statement, ast.If):
            read.effects.append(statement)
    return read


def _path(root: Path, module: str) -> Path | None:
    base = root / module.replace(".", "/")
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _is_silent(node: object) -> bool:
    """Whether a statement is an import, which is followed instead, a docstring, a check of a spec's section, or a
    union of classes, of which whoever uses one names it."""
    if isinstance(node, ast.FunctionDef):
        return node.name == "check"
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _text(node: object) -> str:
    """A syntax tree as text that is the same under every version of Python, without what decides nothing."""
    match node:
        case list():
            return f"[{','.join(_text(item) for item in node if not _is_silent(item))}]"
        case ast.Raise():
            return "Raise()"
        case ast.AST():
            fields = ((name, value) for name, value in ast.iter_fields(node) if name not in UNCOUNTED)
            kept = (f"{name}={_text(value)}" for name, value in fields if value not in (None, []))
            return f"{type(node).__name__}({','.join(kept)})"
        case _:
            return repr(node)
