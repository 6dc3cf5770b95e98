"""specs/schema.json, by which editors complete and check specs, and docs/spec.md, the reference of every field."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import frozen
from jsonschema import Draft202012Validator

from sfddm.spec.fields import Batch, Count, Seed
from sfddm.spec.read import plain_data
from sfddm.spec.schema import REFERENCE, SCHEMA, generated, json_schema, meaning
from tests.project import ROOT

SPECS = [*sorted((ROOT / "specs").rglob("*.yaml")), ROOT / "tests/tiny.yaml"]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((ROOT / "specs/schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", [SCHEMA, REFERENCE], ids=str)
def test_what_is_generated_is_that_of_the_classes(path: Path) -> None:
    written = (ROOT / path).read_text(encoding="utf-8")
    assert written == generated()[path], "`sfddm spec schema` writes it anew"


@frozen(kw_only=True)
class Inherited:
    """The class that an example inherits a field from."""

    first: Count
    """Said below it."""


@frozen(kw_only=True)
class Example(Inherited):
    """A class of a spec."""

    kind: Literal["example"]
    own: Count
    """Its own words, on
    two lines."""
    alias: Batch
    several: tuple[Seed, ...]
    mapping: dict[str, Inherited]
    silent: int


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("own", "Its own words, on two lines."),
        ("first", "Said below it."),
        ("alias", "Images at a time; they have to fit into memory together with the network's activations."),
        ("several", "A seed of random numbers."),
        ("mapping", "The class that an example inherits a field from."),
        ("kind", "A class of a spec."),
        ("silent", ""),
    ],
)
def test_a_field_means_what_the_nearest_docstring_says(field: str, words: str) -> None:
    assert meaning(Example, field) == words


def test_every_field_of_a_spec_has_a_meaning() -> None:
    classes = json_schema()["$defs"]
    silent = [
        f"{name}.{field}"
        for name, cls in classes.items()
        for field, schema in cls["properties"].items()
        if not schema["description"]
    ]
    assert silent == [], "write a docstring below each of these fields"


def test_the_reference_has_every_class_and_every_field() -> None:
    page = " ".join((ROOT / REFERENCE).read_text(encoding="utf-8").replace("\\|", "|").split())
    root, *classes = json_schema()["$defs"].items()
    assert root[0] == "experiment.Spec"
    missing = [name for name, cls in classes if cls["description"] not in page]
    missing += [
        f"{name}.{field}"
        for name, cls in classes
        for field, schema in cls["properties"].items()
        if field != "kind" and not re.search(rf"`{field}` \| [^|]+ \| {re.escape(schema['description'])}", page)
    ]
    assert missing == []


def test_every_link_of_the_reference_leads_to_one_heading() -> None:
    page = (ROOT / REFERENCE).read_text(encoding="utf-8")
    headings = [heading.lower() for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)]
    anchors = [re.sub(r"[^a-z0-9_ -]", "", heading).replace(" ", "-") for heading in headings]
    assert len(anchors) == len(set(anchors))
    links = re.findall(r"\]\(#([^)]*)\)", page)
    assert links
    assert set(links) <= set(anchors)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_spec_is_valid_and_names_its_schema(validator: Draft202012Validator, path: Path) -> None:
    text = path.read_text()
    _, _, schema = text.splitlines()[0].partition("# yaml-language-server: $schema=")
    assert (path.parent / schema).resolve() == ROOT / "specs/schema.json"
    assert [error.message for error in validator.iter_errors(plain_data(text, path.name))] == []


def method(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["students"]["ours-t4"]["method"]
    return found


MISTAKES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a section is missing": lambda spec: spec.pop("teacher"),
    "a key is missing": lambda spec: method(spec).pop("time_input"),
    "a key is misspelt": lambda spec: method(spec).update(term=method(spec).pop("terms")),
    "an unknown kind": lambda spec: method(spec).update(kind="sfdm"),
    "no kind": lambda spec: method(spec).pop("kind"),
    "another kind's key": lambda spec: spec["students"]["ddim-t4"]["method"].update(time_input="level"),
    "an unknown word": lambda spec: spec["teacher"].update(noise_schedule="cosin"),
    "a text for a number": lambda spec: spec["teacher"].update(timesteps="64"),
    "a number with a fraction": lambda spec: spec["teacher"].update(timesteps=64.5),
    "a number below its bound": lambda spec: method(spec)["terms"][0].update(weight=-1),
    "zero where only more will do": lambda spec: method(spec)["training"].update(learning_rate=0),
    "a share above one": lambda spec: method(spec)["training"].update(decay=1.5),
    "a student's name with a capital": lambda spec: spec["students"].update(Ours=spec["students"]["ours-t4"]),
    "a name that Windows reserves": lambda spec: spec.update(name="con"),
    "one seed that is no list": lambda spec: spec["students"]["ours-t4"].update(seeds=0),
    "another version": lambda spec: spec.update(version=1),
    "nothing": lambda spec: spec.update(students=None),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen_where_it_stands(validator: Draft202012Validator, mistake: str) -> None:
    spec = plain_data((ROOT / "tests/tiny.yaml").read_text(), "tiny.yaml")
    MISTAKES[mistake](spec)
    assert list(validator.iter_errors(spec))


def test_a_wrong_kind_is_told_apart_from_what_it_would_need(validator: Draft202012Validator) -> None:
    spec = plain_data((ROOT / "tests/tiny.yaml").read_text(), "tiny.yaml")
    method(spec)["terms"][0]["weight"] = -1
    (error,) = validator.iter_errors(spec)
    assert list(error.absolute_path) == ["students", "ours-t4", "method", "terms", 0, "weight"]
