"""specs/schema.json, by which editors complete and check specs, and docs/spec.md, which says the same to people.

Both are made from the spec classes: types and bounds from the annotations, meanings from the docstrings. What the
classes check of one value alone is in them; what sections must agree on is left to `sfddm spec check`.
"""

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import chain, pairwise
from pathlib import Path
from textwrap import fill
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from sfddm.runtime.files import write_text
from sfddm.spec.experiment import Spec
from sfddm.spec.fields import MOST, Bound, Pattern
from sfddm.spec.read import SPECS

SCHEMA = SPECS / "schema.json"
REFERENCE = Path("docs/spec.md")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCALARS: dict[type, str] = {int: "integer", float: "number", bool: "boolean", str: "string"}
Schema = dict[str, Any]


def generated() -> dict[Path, str]:
    """The texts of specs/schema.json and docs/spec.md that the classes ask for."""
    schema = json_schema()
    text = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return {SCHEMA: text, REFERENCE: _Page(schema).text()}


def write_generated() -> list[Path]:
    """Write both files and return their paths."""
    texts = generated()
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def json_schema() -> Schema:
    """The spec classes as a JSON Schema."""
    definitions: Schema = {}
    root = _schema(Spec, definitions)
    return {"$schema": DRAFT, "title": "An experiment of sfddm", **root, "$defs": definitions}


# What the source says of classes, fields and aliases.


def meaning(cls: type, field: str) -> str:
    """What a field means: the docstring below it, else that of the alias or class that it is annotated with.

    A field `kind` without one has its class's.
    """
    for owner in cls.__mro__[:-1]:
        body = _body(owner)
        for statement in body:
            if isinstance(statement, ast.AnnAssign) and _names(statement) == [field]:
                documented = _documented(body).get(field) or _named(owner.__module__, _alias(statement.annotation))
                return documented or (_summary(cls) if field == "kind" else "")
    return ""


def _named(module: str, name: str) -> str:
    """The docstring of a name in a module, which may have imported it."""
    for statement in _tree(module).body:
        if isinstance(statement, ast.ImportFrom) and (origin := statement.module):
            for imported in statement.names:
                if name == (imported.asname or imported.name) and origin.startswith("sfddm."):
                    return _named(origin, imported.name)
        elif isinstance(statement, ast.ClassDef) and statement.name == name:
            return _one_line(ast.get_docstring(statement))
    return _documented(_tree(module).body).get(name, "")


def _documented(body: list[ast.stmt]) -> dict[str, str]:
    """Docstrings by the names that are assigned or annotated in the statement above each."""
    found: dict[str, str] = {}
    for statement, following in pairwise(body):
        match following:
            case ast.Expr(value=ast.Constant(value=str(text))):
                found |= dict.fromkeys(_names(statement), _one_line(text))
    return found


def _alias(annotation: ast.expr) -> str:
    """The name in an annotation whose docstring is of use: Name in `Name`, `tuple[Name, ...]`, `dict[..., Name]`."""
    match annotation:
        case ast.Name(id=name):
            return name
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[ast.Name(id=name), *_])):
            return name
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, ast.Name(id=name)])):
            return name
    return ""


def _names(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _body(cls: type) -> list[ast.stmt]:
    statements = _tree(cls.__module__).body
    return next(node.body for node in statements if isinstance(node, ast.ClassDef) and node.name == cls.__name__)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(import_module(module)))


def _summary(cls: type) -> str:
    return _one_line(cls.__doc__)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


# The JSON Schema.


def _schema(cls: Any, definitions: Schema) -> Schema:
    if attrs.has(cls):
        return _reference(cls, definitions)
    if cls in SCALARS:
        return {"type": SCALARS[cls]}
    make: dict[Any, Callable[[tuple[Any, ...], Schema], Schema]] = {
        Annotated: _bounded,
        Literal: _literal,
        Union: _union,
        UnionType: _union,
        tuple: _list,
        dict: _mapping,
    }
    return make[get_origin(cls)](get_args(cls), definitions)


def _reference(cls: type, definitions: Schema) -> Schema:
    """A class by its name, with its module's to distinguish classes of one name."""
    name = f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"
    if name not in definitions:
        definitions[name] = {}  # a class inside of itself would not end
        hints = get_type_hints(cls, include_extras=True)
        fields = sorted(attrs.fields(cls), key=lambda field: field.name != "kind")  # attrs has inherited ones first
        definitions[name] = {
            "type": "object",
            "description": _summary(cls),
            "properties": {
                field.name: {**_schema(hints[field.name], definitions), "description": meaning(cls, field.name)}
                for field in fields
            },
            "required": [field.name for field in fields if field.default is attrs.NOTHING],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _bounded(args: tuple[Any, ...], definitions: Schema) -> Schema:
    base, *checks = args
    found = _schema(base, definitions)
    for check in checks:
        if isinstance(check, Bound):
            low = "exclusiveMinimum" if check.open_low else "minimum"
            found |= {key: value for key, value in ((low, check.low), ("maximum", check.high)) if value is not None}
        elif isinstance(check, Pattern):
            found["pattern"] = f"^{check.regex}$".replace(r"\Z", "$")
            found["patternErrorMessage"] = f"expected {check.words}"  # a keyword of VS Code's
    return found


def _literal(args: tuple[Any, ...], _: Schema) -> Schema:
    return {"enum": list(args)}


def _union(args: tuple[Any, ...], definitions: Schema) -> Schema:
    """Classes that differ by their `kind`: an editor complains of the one that is meant. Or else words or a number."""
    if not all(map(attrs.has, args)):
        return {"anyOf": [_schema(member, definitions) for member in args]}
    cases = [
        {"if": {"properties": {"kind": {"enum": _kinds(member)}}}, "then": _schema(member, definitions)}
        for member in args
    ]
    kinds = {kind: _summary(member) for member in args for kind in _kinds(member)}
    words = "\n".join(f"{kind}: {summary}" for kind, summary in kinds.items())
    return {
        "type": "object",
        "properties": {"kind": {"enum": list(kinds), "description": words}},
        "required": ["kind"],
        "allOf": cases,
    }


def _kinds(member: type) -> list[Any]:
    return list(get_args(get_type_hints(member)["kind"]))


def _list(args: tuple[Any, ...], definitions: Schema) -> Schema:
    return {"type": "array", "items": _schema(args[0], definitions)}


def _mapping(args: tuple[Any, ...], definitions: Schema) -> Schema:
    key, item = args
    return {
        "type": "object",
        "propertyNames": _schema(key, definitions),
        "additionalProperties": _schema(item, definitions),
    }


# The same as a page of Markdown.

INTRODUCTION = """\
# Every field of a spec

A spec is one YAML file in `specs/` and describes one experiment: the data, the teacher, the students, and how they are
judged, registered and promoted. This page is written by `sfddm spec schema` from the classes in `sfddm/spec/`, and
editors that know YAML schemas complete and check by the same text (`specs/schema.json`, named in a spec's first line).

- Every field is required unless it says "optional": there are no hidden defaults, so a spec and a commit say all that
  decides a result. Write what several students share once, with YAML's anchors and merges (`&name`, `*name`,
  `<<: *name`), as in `specs/digits.yaml`.
- A section that can be one of several things says which with `kind`, and has the fields of that kind and no others.
- What sections must agree on, such as index sets that fit the teacher's levels, is checked by `sfddm spec check NAME`,
  which reports every fault at once with file, line and path. `sfddm spec show NAME` prints a spec with its anchors
  resolved, each student's levels, and its cost.
- Changing a field runs again what depends on it and nothing else; changing a comment runs nothing.
"""
SHARED = "## Parts that several sections use"
LONGEST = 30
"""Rows of one table; a section with more has a table for each kind."""
WIDTH = 120
"""Characters of a line of prose."""


@attrs.frozen
class _Section:
    """What the page says of a class, or of the kinds that a field chooses from."""

    level: int
    path: str
    members: list[str]
    """Names of classes."""


class _Page:
    """docs/spec.md: sections in the order in which the spec reaches them, then those that it reaches several times."""

    def __init__(self, schema: Schema) -> None:
        self.classes: dict[str, Schema] = schema["$defs"]
        fields = [field for cls in self.classes.values() for field in cls["properties"].values()]
        used = [name for field in fields for name in _members(field)]
        self.shared = {name for name in used if used.count(name) > 1}
        self.root = _Section(1, "", _members(schema))
        self.own, self.common = list(self._below(self.root)), list(self._common())
        self.sections = {name: section for section in (*self.own, *self.common) for name in section.members}

    def text(self) -> str:
        """The whole page."""
        first = [INTRODUCTION.strip(), "## The file", self._table(self.root.members)]
        own, common = (chain.from_iterable(map(self._blocks, part)) for part in (self.own, self.common))
        return "\n\n".join([*first, *own, SHARED, *common]) + "\n"

    def _below(self, section: _Section) -> Iterator[_Section]:
        """The sections of a section's fields, and theirs, without what is reached several times."""
        for name in section.members:
            for field, schema in self.classes[name]["properties"].items():
                if members := [member for member in _members(schema) if member not in self.shared]:
                    path = [*section.path.split("."), field, *(["NAME"] if "propertyNames" in schema else [])]
                    below = _Section(section.level + 1, ".".join(filter(None, path)), members)
                    yield below
                    yield from self._below(below)

    def _common(self) -> Iterator[_Section]:
        waiting = set(self.shared)
        for cls in self.classes.values():
            for field, schema in cls["properties"].items():
                if members := [member for member in _members(schema) if member in waiting]:
                    waiting -= set(members)
                    section = _Section(3, field, members)
                    yield section
                    yield from self._below(section)

    def _blocks(self, section: _Section) -> Iterator[str]:
        yield self._heading(section)
        if self._split(section):
            for name in section.members:
                yield self._heading(section, name)
                yield fill(self.classes[name]["description"], WIDTH)
                if table := self._table([name], with_kind=False):
                    yield table
        else:
            if not self._kind(section.members[0]):
                yield fill(self.classes[section.members[0]]["description"], WIDTH)
            yield self._table(section.members)

    def _heading(self, section: _Section, name: str | None = None) -> str:
        """The heading of a section, or that of one of its kinds."""
        if name is None:
            return f"{'#' * min(section.level, 4)} `{section.path}`"
        return f"{'#' * min(section.level + 1, 4)} `{section.path.rpartition('.')[2]}` of kind `{self._kind(name)}`"

    def _split(self, section: _Section) -> bool:
        return sum(len(self.classes[name]["properties"]) for name in section.members) > LONGEST

    def _kind(self, name: str) -> str:
        """The kind that a class carries out; empty for a class that is not one of several."""
        kinds: list[str] = self.classes[name]["properties"].get("kind", {}).get("enum", [""])
        return kinds[0]

    def _table(self, members: list[str], with_kind: bool = True) -> str:
        rows = []
        for name in members:
            for field, schema in self.classes[name]["properties"].items():
                if field != "kind":
                    rows.append((f"`{field}`", self._value(schema), _cell(schema)))
                elif with_kind:
                    rows.append((f"**`kind: {self._kind(name)}`**", "", _cell(schema)))
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join(["| field | value | meaning |", "|---|---|---|", *lines]) if lines else ""

    def _value(self, schema: Schema) -> str:
        """What may be written for a field."""
        if schema.get("type") == "array":
            return f"list of: {self._value(schema['items'])}"
        if "propertyNames" in schema:
            return f"names, each with: {self._value(schema['additionalProperties'])}"
        if "anyOf" in schema:
            return ", ".join(self._value(either) for either in schema["anyOf"])
        if members := _members(schema):
            return self._links(members)
        if "enum" in schema:
            return _choice(schema["enum"])
        words: str = schema.get("patternErrorMessage", _plain(schema))
        return words.removeprefix("expected ")

    def _links(self, members: list[str]) -> str:
        """The kinds that may be chosen, or the one class, with a link to each section that describes them."""
        words: dict[str, list[str]] = {}
        for name in members:
            section = self.sections[name]
            heading = self._heading(section, name if self._split(section) else None)
            words.setdefault(_anchor(heading), []).append(self._kind(name) or section.path)
        return ", ".join(f"[{_choice(kinds)}](#{anchor})" for anchor, kinds in words.items())


def _members(schema: Schema) -> list[str]:
    """The classes that a value may be of, or each of its items."""
    inner = schema.get("items") or (schema["additionalProperties"] if "propertyNames" in schema else None)
    if inner is not None:
        return _members(inner)
    found = schema.get("anyOf") or [case["then"] for case in schema.get("allOf", [])] or [schema]
    return [case["$ref"].rpartition("/")[2] for case in found if "$ref" in case]


def _cell(schema: Schema) -> str:
    text: str = schema["description"]
    return text.replace("|", r"\|")


def _choice(words: list[Any]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _plain(schema: Schema) -> str:
    """A scalar and its bounds, but for the one beyond which everything is refused."""
    word = {"boolean": "`true`, `false`", "string": "text", "integer": "whole number", "number": "number"}
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    found = [f"{bound} {schema[key]:,}" for key, bound in bounds.items() if schema.get(key, MOST) != MOST]
    return " ".join([word[schema["type"]], *found])


def _anchor(heading: str) -> str:
    """What GitHub calls a heading in links."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")
