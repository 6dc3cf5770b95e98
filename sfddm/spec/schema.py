"""specs/schema.json: the spec classes as a JSON Schema, which editors complete and check specs by.

What the classes check of one value alone is in it; what sections must agree on is `sfddm spec check`'s.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from sfddm.runtime.files import write_text
from sfddm.spec.experiment import Spec
from sfddm.spec.fields import Bound, Pattern
from sfddm.spec.read import SPECS

PATH = SPECS / "schema.json"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCALARS: dict[type, str] = {int: "integer", float: "number", bool: "boolean", str: "string"}


def schema_text() -> str:
    """The text of specs/schema.json that the classes ask for."""
    definitions: dict[str, Any] = {}
    root = _schema(Spec, definitions)
    content = {"$schema": DRAFT, "title": "An experiment of sfddm", **root, "$defs": definitions}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_schema() -> Path:
    """Write specs/schema.json and return its path."""
    write_text(PATH, schema_text())
    return PATH


def _schema(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if attrs.has(cls):
        return _reference(cls, definitions)
    if cls in SCALARS:
        return {"type": SCALARS[cls]}
    make: dict[Any, Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]] = {
        Annotated: _bounded,
        Literal: _literal,
        Union: _union,
        UnionType: _union,
        tuple: _list,
        dict: _mapping,
    }
    return make[get_origin(cls)](get_args(cls), definitions)


def _reference(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """A class by its name, which its module's distinguishes where two classes share it."""
    name = f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"
    if name not in definitions:
        definitions[name] = {}  # a class inside of itself would not end
        hints = get_type_hints(cls, include_extras=True)
        fields = attrs.fields(cls)
        definitions[name] = {
            "type": "object",
            "description": _one_line(cls.__doc__),
            "properties": {field.name: _schema(hints[field.name], definitions) for field in fields},
            "required": [field.name for field in fields if field.default is attrs.NOTHING],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _bounded(args: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    base, *checks = args
    found = _schema(base, definitions)
    for check in checks:
        if isinstance(check, Bound):
            low = "exclusiveMinimum" if check.open_low else "minimum"
            found |= {key: value for key, value in ((low, check.low), ("maximum", check.high)) if value is not None}
        elif isinstance(check, Pattern):
            found["pattern"] = f"^{check.regex}$".replace(r"\Z", "$")
    return found


def _literal(args: tuple[Any, ...], _: dict[str, Any]) -> dict[str, Any]:
    return {"enum": list(args)}


def _union(args: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    """Classes that differ by their `kind`: an editor complains of the one that is meant."""
    cases = [
        {"if": {"properties": {"kind": {"enum": _kinds(member)}}}, "then": _schema(member, definitions)}
        for member in args
    ]
    kinds = [kind for member in args for kind in _kinds(member)]
    return {"type": "object", "properties": {"kind": {"enum": kinds}}, "required": ["kind"], "allOf": cases}


def _kinds(member: type) -> list[Any]:
    return list(get_args(get_type_hints(member)["kind"]))


def _list(args: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _schema(args[0], definitions)}


def _mapping(args: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    key, item = args
    return {
        "type": "object",
        "propertyNames": _schema(key, definitions),
        "additionalProperties": _schema(item, definitions),
    }


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
