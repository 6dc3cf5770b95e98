"""specs/schema.json, by which editors complete and check specs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfddm.spec.read import plain_data
from sfddm.spec.schema import schema_text
from tests.project import ROOT

SPECS = [*sorted((ROOT / "specs").rglob("*.yaml")), ROOT / "tests/tiny.yaml"]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((ROOT / "specs/schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_schema_is_that_of_the_classes() -> None:
    written = (ROOT / "specs/schema.json").read_text(encoding="utf-8")
    assert written == schema_text(), "`sfddm spec schema` writes it anew"


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
    "a key is misspelt": lambda spec: method(spec).update(hiden=method(spec).pop("hidden")),
    "an unknown kind": lambda spec: method(spec).update(kind="sfdm"),
    "no kind": lambda spec: method(spec).pop("kind"),
    "another kind's key": lambda spec: spec["students"]["ddim-t4"]["method"].update(time_input="level"),
    "an unknown word": lambda spec: spec["teacher"].update(noise_schedule="cosin"),
    "a text for a number": lambda spec: spec["teacher"].update(timesteps="64"),
    "a number with a fraction": lambda spec: spec["teacher"].update(timesteps=64.5),
    "a number below its bound": lambda spec: method(spec)["hidden"].update(weight=-1),
    "zero where only more will do": lambda spec: method(spec)["training"].update(learning_rate=0),
    "a share above one": lambda spec: method(spec)["training"].update(decay=1.5),
    "a student's name with a capital": lambda spec: spec["students"].update(Ours=spec["students"]["ours-t4"]),
    "a name that Windows reserves": lambda spec: spec.update(name="con"),
    "one seed that is no list": lambda spec: spec["students"]["ours-t4"].update(seeds=0),
    "another version": lambda spec: spec.update(version=2),
    "nothing": lambda spec: spec.update(students=None),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen_where_it_stands(validator: Draft202012Validator, mistake: str) -> None:
    spec = plain_data((ROOT / "tests/tiny.yaml").read_text(), "tiny.yaml")
    MISTAKES[mistake](spec)
    assert list(validator.iter_errors(spec))


def test_a_wrong_kind_is_told_apart_from_what_it_would_need(validator: Draft202012Validator) -> None:
    spec = plain_data((ROOT / "tests/tiny.yaml").read_text(), "tiny.yaml")
    method(spec)["hidden"]["weight"] = -1
    (error,) = validator.iter_errors(spec)
    assert list(error.absolute_path) == ["students", "ours-t4", "method", "hidden", "weight"]
