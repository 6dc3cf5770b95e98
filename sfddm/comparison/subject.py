"""One trained student as comparisons see it, wherever its results come from."""

from typing import Any

from attrs import frozen

from sfddm.pipeline.rows import flatten


@frozen(kw_only=True)
class Subject:
    """One trained student with its figures."""

    name: str
    """As the user gave it."""
    fields: dict[str, Any]
    """What it depends on: the spec's fields by their paths, its own under `student`."""
    metrics: dict[str, Any]
    timing: dict[str, Any]
    picture: bytes
    """Its images from the first evaluation noises, a grid as PNG."""


def fields_of(content: dict[str, Any], student: str) -> dict[str, Any]:
    """The fields of a run's part of the spec; students of different names have theirs in common."""
    students = dict(content["students"])
    rest = {section: value for section, value in content.items() if section != "students"}
    own = {"student": students.pop(student)}
    weights = {"weights_of": next(iter(students.values()))} if students else {}
    return {**flatten(own), **flatten(weights), **flatten(rest)}
