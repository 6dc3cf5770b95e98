"""From plain data to spec classes with cattrs: strictly, and with every fault named by its path."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import ClassValidationError, Converter, IterableValidationError
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from sfddm.errors import damaged, printable
from sfddm.runtime.files import read_json
from sfddm.spec.fields import Bound, Pattern, shortened

SpecPath = tuple[str | int, ...]
T = TypeVar("T")


class Fault(ValueError):
    """One thing that is wrong in a spec, and its path inside it."""

    def __init__(self, message: str, path: SpecPath = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class StructureError(Exception):
    """All faults of one structuring."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.message} @ {dotted(fault.path)}" for fault in faults))
        self.faults = faults


def dotted(path: SpecPath) -> str:
    """A path as in $.students.ours-t4.seeds[0]."""
    return "$" + "".join(
        f"[{part}]" if isinstance(part, int) else f".{printable(shortened(str(part)))}" for part in path
    )


def structure(content: Any, cls: type[T]) -> T:
    """Build a spec class from plain data.

    Raises:
        StructureError: with every fault that was found, not only the first.
    """
    try:
        return _converter.structure(content, cls)
    except (ClassValidationError, IterableValidationError, Fault) as error:
        raise StructureError(list(_faults(error, ()))) from None


def unstructure(instance: Any) -> Any:
    """Plain data (dicts, lists, scalars) of a spec class: the inverse of `structure`."""
    return _converter.unstructure(instance)


def nearest(word: object, words: Iterable[str]) -> str:
    """A half-sentence with the nearest valid word, or with all of them when none is near."""
    choices = list(words)
    close = get_close_matches(str(word), choices, n=1, cutoff=0.6)
    if close:
        return f", did you mean {close[0]!r}?"
    return f": expected {' or '.join(repr(choice) for choice in choices)}" if choices else ""


def _faults(error: BaseException, path: SpecPath) -> Iterator[Fault]:
    match error:
        case ClassValidationError():
            noted, plain = error.group_exceptions()
            for inner, note in noted:
                yield from _faults(inner, (*path, note.name))
            for inner in plain:
                yield from _faults(inner, path)
        case IterableValidationError():
            for inner, element in error.group_exceptions()[0]:
                yield from _faults(inner, (*path, element.index))
        case ForbiddenExtraKeysError():
            known = [field.name for field in attrs.fields(error.cl)]
            for key in sorted(error.extra_fields, key=str):
                yield Fault(f"unknown key {key!r}{nearest(key, known)}", (*path, key))
        case Fault():
            yield Fault(error.message, (*path, *error.path))
        case KeyError():
            yield Fault(f"missing key {path[-1]!r}", path[:-1])
        case _:
            raise error


def _describe(value: object) -> str:
    """Name what was found, short enough for one line."""
    kinds: dict[type, str] = {Mapping: "a mapping", list: "a list", type(None): "nothing"}
    for kind, words in kinds.items():
        if isinstance(value, kind):
            return words
    return shortened(repr(value))


def _scalar(kind: type, words: str, accept: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) not in accept:
            raise Fault(f"expected {words}, found {_describe(value)}")
        try:
            return kind(value)
        except OverflowError:
            raise Fault(f"expected {words} of a sensible size") from None

    return hook


def _structure_bounded(value: Any, cls: Any) -> Any:
    base, *checks = get_args(cls)
    structured = _converter.structure(value, base)
    for check in checks:
        if isinstance(check, Bound | Pattern) and (fault := check.fault(structured)):
            raise Fault(fault)
    return structured


def _structure_literal(value: Any, cls: Any) -> Any:
    words = get_args(cls)
    for word in words:
        if type(value) is type(word) and value == word:
            return word
    raise Fault(f"unknown word {_describe(value)}{nearest(value, map(str, words))}")


def _structure_union(value: Any, cls: Any) -> Any:
    """Pick the class of a union whose `kind` is in the data, or read a plain word or number if the union allows one."""
    scalars = [member for member in get_args(cls) if not attrs.has(member)]
    classes = [member for member in get_args(cls) if attrs.has(member)]
    members = {get_args(attrs.fields_dict(member)["kind"].type)[0]: member for member in classes}
    if scalars and not isinstance(value, Mapping):
        try:
            return _converter.structure(value, scalars[0])
        except Fault as fault:
            raise Fault(f"{fault.message} (or a mapping of kind {', '.join(map(repr, members))})") from None
    if not isinstance(value, Mapping):
        raise Fault(f"expected a mapping with a kind{nearest('', members)}, found {_describe(value)}")
    if "kind" not in value:
        raise Fault(f"missing key 'kind'{nearest('', members)}")
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in members:
        raise Fault(f"unknown kind {_describe(kind)}{nearest(kind, members)}", ("kind",))
    return _converter.structure(value, members[kind])


def _structure_tuple(value: Any, cls: Any) -> Any:
    if not isinstance(value, list):
        raise Fault(f"expected a list, found {_describe(value)}")
    items: Any = list[get_args(cls)[0]]  # type: ignore[misc]
    return tuple(_converter.structure(value, items))


def _is(origin: object) -> Callable[[Any], bool]:
    """A test whether a type is built from `origin`, as tuple[int, ...] is from tuple."""
    return lambda cls: get_origin(cls) is origin


def _make_class_hook(cls: Any) -> Callable[[Any, Any], Any]:
    generated = make_dict_structure_fn(cls, _converter, _cattrs_forbid_extra_keys=True)

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Fault(f"expected a mapping, found {_describe(value)}")
        return generated(value, kind)

    return hook


def _make_dict_hook(cls: Any) -> Callable[[Any, Any], Any]:
    key, item = get_args(cls)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Fault(f"expected a mapping, found {_describe(value)}")
        faults: list[Fault] = []
        result = {}
        for name, content in value.items():
            try:
                result[_converter.structure(name, key)] = _converter.structure(content, item)
            except (ClassValidationError, IterableValidationError, Fault) as error:
                faults.extend(_faults(error, (name,)))
        if faults:
            raise ClassValidationError("a mapping with faults", faults, dict)
        return result

    return hook


_converter = Converter(detailed_validation=True, omit_if_default=True)
_converter.register_structure_hook(int, _scalar(int, "a whole number", (int,)))
_converter.register_structure_hook(float, _scalar(float, "a number", (int, float)))
_converter.register_structure_hook(bool, _scalar(bool, "true or false", (bool,)))
_converter.register_structure_hook(str, _scalar(str, "text", (str,)))
_converter.register_structure_hook_func(_is(Annotated), _structure_bounded)
_converter.register_structure_hook_func(_is(Literal), _structure_literal)
_converter.register_structure_hook_func(_is(Union), _structure_union)
_converter.register_structure_hook_func(_is(UnionType), _structure_union)
_converter.register_structure_hook_func(_is(tuple), _structure_tuple)
_converter.register_structure_hook_factory(_is(dict), _make_dict_hook)
_converter.register_structure_hook_factory(attrs.has, _make_class_hook)
_converter.register_unstructure_hook_func(_is(tuple), lambda value: [_converter.unstructure(item) for item in value])


def read_stored(path: Path, cls: type[T]) -> T:
    """The instance of an attrs class that a JSON file describes: every field of its type and within its bounds.

    Raises:
        UserError: the file is missing or damaged, or describes something else.
    """
    return as_stored(path, read_json(path), cls)


def as_stored(path: Path, content: Any, cls: type[T]) -> T:
    """The same of what was read from `path` already.

    Raises:
        UserError: it describes something else.
    """
    try:
        return structure(content, cls)
    except StructureError as error:
        raise damaged(path, error) from None


def read_mapping(path: Path) -> Mapping[str, Any]:
    """A JSON file that contains a mapping.

    Raises:
        UserError: the file is missing or damaged, or contains something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise damaged(path, "expected a mapping")
    return content
