"""One field of a spec's text changed, and nothing else, however its sections share anchors.

DVC's own `--set-param` writes a value wherever the anchor is used, and the last student that merges it writes the old
one back. Here the top-level section, or the student, that has the field is written out without anchors first.
"""

import io
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import product
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sfddm.errors import UserError

WIDTH = 120


def settings(given: Sequence[str]) -> list[dict[str, Any]]:
    """All combinations of values of fields, given as `PATH=VALUE,VALUE`; values are YAML.

    Raises:
        UserError: one has another form, or names a path twice.
    """
    fields: dict[str, list[Any]] = {}
    for each in given:
        path, equals, values = each.partition("=")
        if not equals or not path or not values:
            raise UserError(
                f"{each}: expected PATH=VALUE,VALUE as in students.ours-t4.method.training.iterations=675,1350"
            )
        if path in fields:
            raise UserError(f"{path} is given twice: give all of its values at once, with commas between them.")
        try:
            fields[path] = YAML(typ="safe").load(f"[{values}]")
        except YAMLError:
            raise UserError(f"{each}: the values are not YAML.") from None
    return [dict(zip(fields, values, strict=True)) for values in product(*fields.values())]


def override(text: str, changes: dict[str, Any], origin: str) -> str:
    """A valid spec's text with other values of some fields.

    Args:
        text: the spec.
        changes: values by dotted paths, in which positions in lists are numbers from 0.
        origin: what errors call it.

    Raises:
        UserError: there is no such field.
    """
    editor = YAML()  # keeps comments and anchors
    editor.width = WIDTH
    editor.indent(mapping=2, sequence=4, offset=2)
    document = editor.load(text)
    wanted = _plain(document)
    for path, value in changes.items():
        names = path.split(".")
        _set(wanted, names, value, origin)
        _write_out(document, names[: 2 if names[0] == "students" else 1])
        _set(document, names, value, origin)
    stream = io.StringIO()
    editor.dump(document, stream)
    assert YAML(typ="safe").load(stream.getvalue()) == wanted, "a field is not the only change"
    return stream.getvalue()


def _write_out(document: Any, names: Sequence[str]) -> None:
    *above, last = names
    for name in above:
        document = document[name]
    document[last] = _plain(document[last])


def _set(node: Any, names: Sequence[str], value: Any, origin: str) -> None:
    for at, name in enumerate(names):
        key: Any = int(name) if isinstance(node, list) and name.isdigit() else name
        if not (key in node if isinstance(node, dict) else isinstance(key, int) and key < len(node)):
            there = list(node) if isinstance(node, dict) else [str(index) for index in range(len(node))]
            near = get_close_matches(name, there, 1)
            hint = f", did you mean {near[0]!r}?" if near else f"; there are {', '.join(there)}"
            raise UserError(f"{origin} has no {'.'.join(names[: at + 1])}{hint}")
        if at + 1 == len(names):
            node[key] = value
        elif isinstance(node[key], dict | list):
            node = node[key]
        else:
            raise UserError(f"{origin}: {'.'.join(names[: at + 1])} is {node[key]!r} and has no fields.")


def _plain(node: Any) -> Any:
    """Without anchors and merges."""
    if isinstance(node, dict):
        return {name: _plain(value) for name, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list) else node
