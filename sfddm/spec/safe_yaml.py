"""What a spec file may contain at most, checked before anything is built from it.

Aliases let a few lines stand for billions of values, and a parser in Python takes seconds for what no spec is. All
limits of the file stand here; those of single values are in `sfddm.spec.fields`.
"""

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sfddm.spec.fields import shortened

LARGEST = 64 * 1024
"""Bytes; the longest spec here has 8 thousand."""
DEEPEST = 20
"""Mappings and lists inside each other, aliases followed; the deepest spec here has 9."""
MOST_NODES = 30_000
"""Keys and values once aliases are expanded; the longest spec here has 4 thousand."""
LONGEST = 500
"""Characters of one key or value. Python refuses numbers of more than 4300 digits."""
TOO_DEEP = f"more than {DEEPEST} levels inside each other"

_TAG = "tag:yaml.org,2002:"
_KNOWN = {_TAG + name for name in ("str", "int", "float", "bool", "null", "merge", "map", "seq")}


def build(text: str) -> tuple[Node | None, Any]:
    """The nodes of a YAML text, for places in errors, and their plain data.

    Raises:
        MarkedYAMLError: no YAML, or beyond a limit, with its place.
        YAMLError: characters that YAML has not.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEEPEST
    try:
        root = yaml.compose(text)
    except MaxDepthExceededError as error:
        raise MarkedYAMLError(problem=TOO_DEEP, problem_mark=error.problem_mark) from None
    for node in _expanded(root):
        _check(node)
        if isinstance(node, ScalarNode):
            _construct(yaml, node)
    return root, yaml.constructor.construct_document(root) if root is not None else None


def _expanded(root: Node | None) -> Iterator[Node]:
    """Every node, as often as aliases repeat it."""
    if root is None:
        return
    stack = [(root, 1)]
    for _ in range(MOST_NODES):
        if not stack:
            return
        node, depth = stack.pop()
        if depth > DEEPEST:
            raise refusal(f"{TOO_DEEP}, or an alias inside of what it names", node)
        yield node
        stack.extend((child, depth + 1) for child in _children(node))
    if stack:
        raise refusal(f"more than {MOST_NODES} values once aliases are expanded", root)


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in reversed(node.value) for child in reversed(pair)]
    return list(reversed(node.value)) if isinstance(node, SequenceNode) else []


def _check(node: Node) -> None:
    tag = str(node.tag)
    if tag == f"{_TAG}timestamp":
        raise refusal("dates are not allowed here: quote it if you mean text", node)
    if tag not in _KNOWN:
        raise refusal(f"specs know no tag {shortened(tag.replace(_TAG, '!!'))}: leave it out", node)
    if isinstance(node, ScalarNode) and len(node.value) > LONGEST:
        raise refusal(f"a key or value of more than {LONGEST} characters", node)
    if isinstance(node, MappingNode):
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise refusal("expected a name as a key, found a list or a mapping", key)


def _construct(yaml: YAML, node: ScalarNode) -> None:
    """Try a value whose tag says what it should be; what is built is kept until the whole document is."""
    try:
        if not str(node.tag).endswith(":merge"):
            yaml.constructor.construct_object(node)
    except (ValueError, KeyError, IndexError, TypeError):
        kind = str(node.tag).removeprefix(_TAG)
        raise refusal(f"{shortened(node.value)!r} can't be read as {kind}", node) from None


def refusal(problem: str, node: Node) -> MarkedYAMLError:
    """An error at the place of a node."""
    return MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
