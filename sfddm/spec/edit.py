"""Changing students' index sets in a spec file and nothing else: every other byte of the file stays.

The place of a value comes from the marks of ruamel's events; its round trip would write other lines anew too.
"""

from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from attrs import evolve, frozen
from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, Event, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent

from sfddm.errors import SpecError
from sfddm.runtime.files import write_text
from sfddm.spec.experiment import Spec
from sfddm.spec.index_set import Explicit
from sfddm.spec.parse import nearest
from sfddm.spec.read import parse_spec

FOUND_BY = "# Found by: "
"""How the comment above a found index set begins; the next search replaces it."""


@frozen(eq=False)
class _Node:
    """text[start:end] of a YAML text, with the anchor in front of it."""

    event: Event
    """The one that it begins with."""
    end: int
    items: "tuple[_Node, ...]"
    """A mapping's keys and values in turn, or a sequence's entries."""

    @property
    def start(self) -> int:
        """Where the anchor, or else the content begins."""
        return int(self.event.start_mark.index)

    @property
    def anchor(self) -> str | None:
        """The name that it gives itself; of an alias, the name that it stands for."""
        return getattr(self.event, "anchor", None)

    def get(self, key: str) -> "_Node | None":
        """What stands behind `key` in this very mapping; aliases and merges are not followed."""
        pairs = zip(self.items[::2], self.items[1::2], strict=True)
        return next((value for name, value in pairs if getattr(name.event, "value", None) == key), None)

    def walk(self) -> "Iterator[_Node]":
        """This node and all below it, in the order of the text."""
        yield self
        for item in self.items:
            yield from item.walk()


def write_levels(path: Path, students: Collection[str], levels: tuple[int, ...], command: str) -> None:
    """Give students of a spec file the explicit index set `levels`, under a comment that names the command.

    Where one of them has named its old set with an anchor, the first alias left takes over the anchor and the set.

    Raises:
        SpecError: no such student; the spec would not be valid; or the set can't be written without changing something
            else. The file is as it was.
    """
    text = path.read_bytes().decode()
    before = parse_spec(text, str(path))
    for name in students:
        if name not in before.students:
            raise SpecError(f"{path}: unknown student {name!r}{nearest(name, before.students)}")
    changed = _with_levels(text, path, students, levels, command)
    if parse_spec(changed, str(path)) != _expected(before, students, levels):
        raise SpecError(
            f"{path}: other students take over what would change (by `*` or `<<`): give them an index_set of their "
            f"own first, or write this one by hand: {_flow(levels)}"
        )
    write_text(path, changed)


def _expected(before: Spec, students: Collection[str], levels: tuple[int, ...]) -> Spec:
    explicit = Explicit(kind="explicit", levels=levels)
    changed = {name: evolve(before.students[name], index_set=explicit) for name in students}
    return evolve(before, students={**before.students, **changed})


def _with_levels(text: str, path: Path, students: Collection[str], levels: tuple[int, ...], command: str) -> str:
    root = _parse(text)
    described = root.get("students")
    replaced = []
    for name in students:
        student = described.get(name) if described else None
        old = student.get("index_set") if student else None
        if old is None:
            raise SpecError(f"{path}: {name} has no index_set of its own: give it one, such as {_flow(levels)}")
        replaced.append(old)
    edits = {(old.start, old.end, _flow(levels)) for old in replaced}
    edits |= {_comment(text, old.start, command) for old in replaced}
    edits |= set(_moved_anchors(text, root, replaced))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _flow(levels: tuple[int, ...]) -> str:
    return f"{{kind: explicit, levels: [{', '.join(map(str, levels))}]}}"


def _comment(text: str, start: int, command: str) -> tuple[int, int, str]:
    """A comment line above the line of text[start], in place of one that an earlier search wrote there."""
    line = text.rfind("\n", 0, start) + 1
    indent = text[line:][: len(text[line:]) - len(text[line:].lstrip(" "))]
    above = text.rfind("\n", 0, line - 1) + 1
    begin = above if text[above:line].lstrip(" ").startswith(FOUND_BY) else line
    newline = "\r\n" if text[:line].endswith("\r\n") else "\n"
    return begin, line, f"{indent}{FOUND_BY}{command}{newline}"


def _moved_anchors(text: str, root: _Node, replaced: list[_Node]) -> Iterator[tuple[int, int, str]]:
    """Edits that keep alive, at the first alias left, each anchor that goes away with a replaced node."""
    gone = {id(node): node for node in chain.from_iterable(old.walk() for old in replaced)}
    homeless: dict[str, _Node] = {}
    for node in root.walk():
        if node.anchor is None:
            continue
        if not isinstance(node.event, AliasEvent):
            homeless.pop(node.anchor, None)
            if id(node) in gone:
                homeless[node.anchor] = node
        elif node.anchor in homeless and id(node) not in gone:
            yield node.start, node.end, _inline(text, homeless.pop(node.anchor))


def _inline(text: str, node: _Node) -> str:
    """A node on one line, with its anchor."""
    if not node.items:
        return text[node.start : node.end]
    inner = [_inline(text, item) for item in node.items]
    if isinstance(node.event, MappingStartEvent):
        pairs = zip(inner[::2], inner[1::2], strict=True)
        content = "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    else:
        content = "[" + ", ".join(inner) + "]"
    return f"&{node.anchor} {content}" if node.anchor else content


def _parse(text: str) -> _Node:
    events = iter(YAML(typ="safe", pure=True).parse(text))
    for event in events:
        if isinstance(event, MappingStartEvent):
            return _node(event, events)
    raise AssertionError("a valid spec is a mapping")


def _node(event: Event, events: Iterator[Event]) -> _Node:
    if isinstance(event, ScalarEvent | AliasEvent):
        return _Node(event, event.end_mark.index, ())
    items = []
    for inner in events:
        if isinstance(inner, MappingEndEvent | SequenceEndEvent):
            break
        items.append(_node(inner, events))
    # The end event of block style stands where the next thing begins, behind comments.
    end = inner.end_mark.index if getattr(event, "flow_style", False) else items[-1].end
    return _Node(event, end, tuple(items))
