"""One field of a spec changed: nothing else changes, in specs whose students share nearly everything."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sfddm.errors import UserError
from sfddm.spec.override import override, settings
from sfddm.spec.read import parse_spec

ROOT = Path(__file__).parents[1]
SPECS = [ROOT / path for path in ("tests/tiny.yaml", "specs/digits.yaml", "specs/gallery/few-steps.yaml")]
DIGITS = (ROOT / "specs/digits.yaml").read_text()


def resolved(text: str) -> Any:
    """What the text says, with no object in two places."""
    return json.loads(json.dumps(YAML(typ="safe").load(text)))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_field_of_one_student_changes_alone_whatever_shares_its_anchors(path: Path) -> None:
    text = path.read_text()
    for name in resolved(text)["students"]:
        wanted = resolved(text)
        student = wanted["students"][name]
        changes: dict[str, Any] = {f"students.{name}.clip_sample": False}
        student["clip_sample"] = False
        if "training" in student["method"]:
            changes[f"students.{name}.method.training.learning_rate"] = 0.123
            student["method"]["training"]["learning_rate"] = 0.123
        changed = override(text, changes, "x.yaml")
        assert resolved(changed) == wanted


def test_positions_in_lists_and_whole_sections_can_be_given() -> None:
    changed = override(DIGITS, {"students.ours-t4.method.terms.1.weight": 0.5}, "x.yaml")
    before, after = (parse_spec(text, "x.yaml").students for text in (DIGITS, changed))
    assert [name for name in before if before[name] != after[name]] == ["ours-t4"]
    assert after["ours-t4"].method.terms[1].weight == 0.5  # type: ignore[union-attr]
    changed = override(DIGITS, {"students.ours-t4.index_set": {"kind": "uniform", "steps": 3}}, "x.yaml")
    assert len(parse_spec(changed, "x.yaml").levels("ours-t4")) == 3
    assert parse_spec(override(DIGITS, {"teacher.source.seed": 9}, "x.yaml"), "x.yaml").teacher.source.seed == 9  # type: ignore[union-attr]


def test_comments_and_anchors_of_other_students_stay() -> None:
    changed = override(DIGITS, {"students.ours-t2.method.training.iterations": 600}, "x.yaml").splitlines()
    lost = [line for line in DIGITS.splitlines() if line.lstrip().startswith("#") and line not in changed]
    assert not lost and any("&ours" in line for line in changed)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("students.ours-t4.method.training.iteration", "no students.ours-t4.method.training.iteration, did you mean"),
        ("students.ours", "has no students.ours, did you mean"),
        ("students.ours-t4.method.terms.7.weight", "has no students.ours-t4.method.terms.7; there are 0, 1"),
        ("students.ours-t4.seeds.0.x", "students.ours-t4.seeds.0 is 0 and has no fields"),
        ("nothing", "has no nothing; there are version, name"),
    ],
)
def test_a_field_that_is_not_there_is_named(path: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        override(DIGITS, {path: 1}, "specs/digits.yaml")


def test_values_are_yaml_and_all_combinations_are_taken() -> None:
    found = settings(["a.b=1,2", "c=[x, y],{d: 1.5e-3}"])
    assert found == [
        {"a.b": 1, "c": ["x", "y"]}, {"a.b": 1, "c": {"d": 0.0015}},
        {"a.b": 2, "c": ["x", "y"]}, {"a.b": 2, "c": {"d": 0.0015}},
    ]  # fmt: skip


@pytest.mark.parametrize("given", ["a", "a=", "=1", "a=[1", "a: 1"])
def test_what_gives_no_values_is_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"expected PATH=VALUE|not YAML"):
        settings([given])


def test_a_field_is_given_once() -> None:
    with pytest.raises(UserError, match="a is given twice"):
        settings(["a=1", "a=2"])
