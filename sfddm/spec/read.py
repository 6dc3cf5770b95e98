"""Spec files: where they are, how they are read, and errors that name file, line and path."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from sfddm.errors import SpecError
from sfddm.spec.checks import cross_check
from sfddm.spec.experiment import Spec
from sfddm.spec.structure import Fault, StructureError, structure

SPECS = Path("specs")
LARGEST = 1_000_000
"""Bytes; no spec comes near it, and a larger file is a mistake or an attack."""
MOST_NODES = 100_000
"""Nodes after aliases are expanded: more is an attack by nested aliases."""


def load_spec(name: str) -> Spec:
    """Read and check `specs/NAME.yaml`; a path to a spec file does as well.

    Raises:
        SpecError: no such file, no YAML, or no valid spec; with every fault and its line.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else SPECS / f"{name}.yaml"
    spec = parse_spec(_read(path), str(path))
    if spec.name != path.stem:
        raise SpecError(f"{path}: expected `name: {path.stem}`, as the file is called, found {spec.name!r}")
    return spec


def parse_spec(text: str, origin: str) -> Spec:
    """Read a spec from YAML text; `origin` is what errors call it.

    Raises:
        SpecError: with every fault and its line.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        _limit(root, origin)
        content = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SpecError(f"{origin}{line}: {error.problem or error.context}") from None
    except (YAMLError, ValueError, KeyError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SpecError(f"{origin}: not valid YAML: {reason}") from None
    try:
        spec = structure(content, Spec)
        faults = list(cross_check(spec))
    except StructureError as error:
        faults = error.faults
    if faults:
        raise SpecError(_report(faults, root, origin))
    return spec


def spec_names() -> list[str]:
    """The names of all specs of the repository.

    Raises:
        SpecError: there are none here.
    """
    names = sorted(path.stem for path in SPECS.glob("*.yaml"))
    if not names:
        raise SpecError(f"no specs in {SPECS.resolve()}: run this in the root of the repository.")
    return names


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise SpecError(f"{path}: larger than {LARGEST} bytes, which no spec needs")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        found = sorted(file.stem for file in SPECS.glob("*.yaml"))
        close = get_close_matches(path.stem, found, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"found there: {', '.join(found) or 'none'}"
        raise SpecError(f"{path}: no such spec; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from None


def _limit(root: Node | None, origin: str) -> None:
    """Refuse aliases within aliases before anything expands them."""
    count = 0
    stack = [root] if root is not None else []
    while stack:
        node = stack.pop()
        count += 1
        if count > MOST_NODES:
            raise SpecError(f"{origin}: more than {MOST_NODES} values once its aliases are expanded")
        if isinstance(node, MappingNode):
            stack.extend(child for pair in node.value for child in pair)
        elif isinstance(node, SequenceNode):
            stack.extend(node.value)


def _report(faults: list[Fault], root: Node | None, origin: str) -> str:
    located = sorted(((_line(root, fault.path), fault) for fault in faults), key=lambda pair: pair[0])
    return "\n".join(f"{origin}:{line}: {fault.message} @ {_dotted(fault.path)}" for line, fault in located)


def _dotted(path: tuple[str | int, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _line(root: Node | None, path: tuple[str | int, ...]) -> int:
    """1-based line of the deepest part of `path` that stands in the file."""
    node, line = root, 1
    for part in path:
        found = _child(node, part)
        if found is None:
            break
        node, line = found
    return line


def _child(node: Any, part: str | int) -> tuple[Node, int] | None:
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
        for key, value in node.value:
            if key.tag.endswith(":merge") and (found := _child(value, part)):
                return found
    return None
