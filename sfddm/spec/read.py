"""Spec files: where they are, how they are read, and errors that name file, line and path."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from sfddm.errors import SpecError, printable
from sfddm.runtime.files import read_bytes
from sfddm.spec.checks import cross_check
from sfddm.spec.experiment import Spec
from sfddm.spec.fields import require_name
from sfddm.spec.parse import Fault, StructureError, dotted, structure
from sfddm.spec.safe_yaml import LARGEST, build

SPECS = Path("specs")
"""The active experiments: what `dvc repro` goes through."""
GALLERY = SPECS / "gallery"
"""Examples, which DVC knows nothing of until `sfddm new` copies one into SPECS."""
MOST_FAULTS = 50
"""Faults that one error lists."""


def load_spec(name: str) -> Spec:
    """Read and check `specs/NAME.yaml`; a path to a spec file does as well.

    Raises:
        SpecError: no such file, no YAML, or no valid spec; with every fault and its line.
    """
    path = spec_path(name)
    spec = parse_spec(_read(path), str(path))
    if spec.name != path.stem:
        raise SpecError(f"{path}: expected `name: {path.stem}`, as the file is called, found {spec.name!r}")
    return spec


def parse_spec(text: str, origin: str) -> Spec:
    """Read a spec from YAML text; `origin` is what errors call it.

    Raises:
        SpecError: with every fault and its line.
    """
    root, content = _build(text, origin)
    try:
        spec = structure(content, Spec)
        faults = list(cross_check(spec))
    except StructureError as error:
        faults = error.faults
    if faults:
        raise SpecError(_report(faults, root, origin))
    return spec


def spec_names() -> list[str]:
    """The names of all active specs of the repository.

    Raises:
        SpecError: there are none here.
    """
    names = sorted(path.stem for path in SPECS.glob("*.yaml"))
    if not names:
        raise SpecError(f"no specs in {SPECS.resolve()}: run this in the root of the repository.")
    return names


def example_names() -> list[str]:
    """The names of all examples."""
    return sorted(path.stem for path in GALLERY.glob("*.yaml"))


def not_active(name: str) -> SpecError:
    """The error of a command that is given an example's name as if it were active."""
    return SpecError(f"{name} is an example: `sfddm new {name}` activates it.")


def spec_path(name: str) -> Path:
    """The file of a spec that is named, or whose path is given.

    Raises:
        SpecError: neither a name nor the path of a YAML file.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    return SPECS / f"{require_name(name, 'the name of a spec')}.yaml"


def plain_data(text: str, origin: str) -> Any:
    """The plain data of a spec's text, within the limits of every spec, and not checked against a class.

    Raises:
        SpecError: no YAML, or beyond a limit.
    """
    if len(text) > LARGEST:
        raise SpecError(f"{origin}: larger than {LARGEST} bytes")
    return _build(text, origin)[1]


def _build(text: str, origin: str) -> tuple[Node | None, Any]:
    try:
        return build(text)
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = (error.problem or error.context or "not valid YAML").splitlines()[0]
        raise SpecError(f"{origin}{line}: {printable(problem)}") from None
    except ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise SpecError(f"{origin}:{number}: not valid YAML: {str(error).splitlines()[0]}") from None
    except (YAMLError, RecursionError) as error:
        raise SpecError(f"{origin}: not valid YAML: {(str(error) or type(error).__name__).splitlines()[0]}") from None


def _read(path: Path) -> str:
    """Raises: SpecError: no such file, none that can be read, too large, or a link out of the repository."""
    try:
        if path.parent == SPECS and not path.resolve(strict=True).is_relative_to(Path.cwd()):
            raise SpecError(
                f"{path} leads out of the repository, where neither git nor DVC keeps it: put the file itself there."
            )
        return read_bytes(path, LARGEST).decode()
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from None


def _missing(path: Path) -> SpecError:
    active, examples = sorted(file.stem for file in SPECS.glob("*.yaml")), example_names()
    if path.parent == SPECS and path.stem in examples:
        return not_active(path.stem)
    close = next(iter(get_close_matches(path.stem, [*active, *examples], n=1)), None)
    if close in examples:
        hint = f"did you mean {close!r}, an example that `sfddm new {close}` activates?"
    else:
        hint = f"did you mean {close!r}?" if close else f"found there: {', '.join(active) or 'none'}"
    return SpecError(f"{path}: no such spec; {hint}")


def _report(faults: list[Fault], root: Node | None, origin: str) -> str:
    located = sorted(((_line(root, fault.path), fault) for fault in faults), key=lambda pair: pair[0])
    lines = [f"{origin}:{line}: {printable(fault.message)} @ {dotted(fault.path)}" for line, fault in located]
    more = [f"{origin}: {len(lines) - MOST_FAULTS} more faults"] if len(lines) > MOST_FAULTS else []
    return "\n".join(lines[:MOST_FAULTS] + more)


def _line(root: Node | None, path: tuple[str | int, ...]) -> int:
    """1-based line of the deepest part of `path` that is in the file."""
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
        # Building has put merged entries in front of a mapping's own, which hide them.
        for key, value in reversed(node.value):
            if key.value == str(part):
                return value, key.start_mark.line + 1
    return None
