"""`sfddm compare`: runs and registered versions beside each other."""

import io
from copy import deepcopy
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from sfddm.evaluation.metrics import JACKKNIFE
from sfddm.evaluation.statistics import difference, why_not
from sfddm.report.compare import Subject, fields_that_differ, show
from tests.experiment import ERROR, figures
from tests.project import OURS, Project

DDIM = "tiny-ddim-t4-s0"


def subject(name: str, distance: float, error: float = ERROR, **metrics: Any) -> Subject:
    return Subject(
        name=name,
        fields={"name": "tiny", "student.method.kind": "sfddm", "student.seeds": "0"},
        metrics=figures(distance, error=error, **{"nfe": 4, **metrics}),
        timing={"seconds_per_1000_images": 2.0, "latency_ms": 8.0},
    )


def printed(*subjects: Subject) -> list[str]:
    out = io.StringIO()
    show(list(subjects), Console(file=out, width=200))
    return out.getvalue().splitlines()


def line(lines: list[str], start: str) -> list[str]:
    """The cells of a line behind its name."""
    (found,) = [text.strip() for text in lines if text.strip().startswith(f"{start} ")]
    return found.removeprefix(start).split()


FIRST, SECOND = (f"Frechet distance ({scorer})" for scorer in ("convolutional", "pixels"))


def test_only_fields_that_differ_are_listed_with_every_value() -> None:
    a, b = subject("a", 0.5), subject("b", 0.5)
    assert fields_that_differ([a, b]) == {}
    other = evolve(b, fields={"name": "tiny", "student.method.kind": "tract", "student.method.substeps": 3})
    assert fields_that_differ([a, b, other]) == {
        "student.method.kind": ["sfddm", "sfddm", "tract"],
        "student.seeds": ["0", "0", None],
        "student.method.substeps": [None, None, 3],
    }


def test_every_scorers_distances_differ_only_beyond_what_common_noises_explain() -> None:
    """Standard errors of .02 and .04 with the same noises leave .02: t(.975, 4) = 2.776 times that."""
    a = subject("a", 0.5)
    lines = printed(a, subject("b", 1.5, ERROR + 0.02))
    assert line(lines, FIRST) == ["0.5000", "1.5000", "+1.0000", "±", "0.0555"]
    assert line(lines, SECOND) == ["5.0000", "15.0000", "+10.0000", "±", "0.5553"]
    near = printed(a, subject("c", 0.55, ERROR + 0.02, pixels=3.0))
    assert line(near, FIRST) == ["0.5000", "0.5500", "≈", "+0.0500", "±", "0.0555"]
    assert line(near, SECOND) == ["5.0000", "3.0000", "-2.0000", "±", "0.5553"]
    assert line(lines, "recall (pixels)") == ["0.625", "0.625", "+0.000"], "no jackknife, no interval"


@pytest.mark.parametrize("key", JACKKNIFE)
def test_a_difference_is_how_much_the_first_is_above_the_second_by_its_own_jackknife(key: str) -> None:
    others = {name: {"images": [9.0, 0, 0, 0, 0]} for name in JACKKNIFE.values()}
    a, b = ({"scorers": {"one": {**others, key: whole, JACKKNIFE[key]: {"images": images}}}}
            for whole, images in ((1.0, [1.0, 2, 3, 4, 5]), (1.5, [2.0, 2, 5, 6, 5])))  # fmt: skip
    found = difference(b, a, key, "one")
    # Differences 1, 0, 2, 2, 0 without each block: variance 1, of which the jackknife makes 16 / 5.
    assert found is not None and found.estimate == pytest.approx(0.5)
    assert found.half_width == pytest.approx(2.776445 * (16 / 5) ** 0.5, rel=1e-6)


def test_a_figure_without_a_jackknife_on_both_sides_has_no_measured_spread() -> None:
    with_errors, without = {"ssim": 0.5, "ssim_jackknife": {"images": [0.5] * 5}}, {"ssim": 0.5}
    assert difference(with_errors, with_errors, "ssim") is not None
    assert difference(with_errors, without, "ssim") is None and difference(without, with_errors, "ssim") is None
    assert difference({"recall": 0.5}, {"recall": 0.6}, "recall") is None


def test_what_one_side_does_not_say_is_another() -> None:
    full, older = (deepcopy(subject("a", 0.5).metrics) for _ in range(2))
    del older["scorers"]["pixels"]["scorer_version"]
    assert why_not(full, older, "pixels") == ["pixels: other version (2 | unknown)"]
    assert why_not(older, full, "pixels") == ["pixels: other version (unknown | 2)"]
    assert why_not(older, older, "pixels") == ["pixels: other version (unknown | unknown)"]
    assert why_not(full, older) == why_not(full, older, "convolutional") == []
    assert why_not(full, {**full, "noise_seed": 4, "samples": 9}) == [
        "other noises (3 | 4)", "other number of images (5000 | 9)"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("noise_seed", 4, "other noises (3 | 4)"),
        ("reference", "ffff", "other reference (4567cdef | ffff)"),
        ("samples", 50, "other number of images (5000 | 50)"),
    ],
)
def test_figures_of_other_noises_are_not_compared_by_any_scorer(key: str, value: object, words: str) -> None:
    lines = printed(subject("a", 0.5), subject("b", 1.5, **{key: value}))
    assert any(text == f"B does not compare with A: {words}." for text in lines), "said once"
    assert line(lines, FIRST) == ["0.5000", "1.5000"] and line(lines, SECOND) == ["5.0000", "15.0000"]
    assert line(lines, "SSIM") == ["0.8750", "0.8750"]
    assert line(lines, "s/1000") == ["2.000", "2.000", "+0.000"], "times do not depend on noises"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("scorer", "inception", "pixels: other scorer (classifier-2:0123abcd | inception)"),
        ("scorer_version", "3", "pixels: other version (2 | 3)"),
        ("real", "ffff", "pixels: other real images (abcd0123 | ffff)"),
    ],
)
def test_what_one_scorer_can_not_compare_the_others_can(key: str, value: str, words: str) -> None:
    a, b = subject("a", 0.5), subject("b", 1.5)
    b.metrics["scorers"]["pixels"][key] = value
    lines = printed(a, b)
    assert any(f"B does not compare with A: {words}." in text for text in lines)
    assert line(lines, SECOND) == ["5.0000", "15.0000"]
    assert line(lines, FIRST) == ["0.5000", "1.5000", "+1.0000", "±", "0.0000"]


def test_of_another_panel_the_common_scorers_are_compared() -> None:
    """Rows of a metric stay together, whoever has them."""
    a, b = subject("a", 0.5), subject("b", 1.5)
    b.metrics["scorers"]["inception"] = b.metrics["scorers"].pop("pixels")
    b.metrics["panel"] = ["convolutional", "inception"]
    lines = printed(a, b)
    assert line(lines, FIRST)[2:] == ["+1.0000", "±", "0.0000"]
    assert line(lines, SECOND) == ["5.0000", "–"] and line(lines, "Frechet distance (inception)") == ["–", "15.0000"]
    names = [text.strip().partition(" (")[0] for text in lines if " (" in text]
    kinds = ("Frechet distance", "Frechet distance of so many images", "distance to training images")
    assert names[:9] == [kind for kind in kinds for _ in range(3)]
    assert not any("does not compare" in text for text in lines)


def test_three_are_all_held_against_the_first() -> None:
    lines = printed(subject("a", 0.5), subject("b", 1.5), subject("c", 2.5))
    assert line(lines, FIRST) == ["0.5000", "1.5000", "2.5000", "+1.0000", "±", "0.0000", "+2.0000", "±", "0.0000"]


def test_runs_are_compared(project: Project) -> None:
    output = project.run("sfddm", "compare", OURS, DDIM)
    lines = output.splitlines()
    assert line(lines, "student.method.kind") == ["sfddm", "free"]
    assert "teacher.timesteps" not in output and "student.index_set" not in output
    assert all("±" in line(lines, name) for name in (FIRST, SECOND)) and "does not compare" not in output


def test_a_registered_version_is_the_run_that_it_was_made_from(original: Project) -> None:
    lines = original.run("sfddm", "compare", OURS, "models:/sfddm-tiny/1").splitlines()
    assert any(text.strip() == "none" for text in lines)
    assert line(lines, FIRST)[2:] == line(lines, SECOND)[2:] == ["≈", "+0.0000", "±", "0.0000"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((OURS,), "compare takes 2 to 26 students, found 1"),
        ((OURS, "tiny-our-t4-s0"), f"did you mean '{OURS}'?"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(project: Project, names: tuple[str, ...], words: str) -> None:
    output = project.run("sfddm", "compare", *names, code=2)
    assert words in " ".join(output.split())
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("models:/sfddm-tinny/1", "did you mean 'sfddm-tiny'?"),
        ("models:/sfddm-tiny@nobody", "sfddm promote"),
        ("models:/sfddm-tiny/x", "models:/sfddm-tiny/x"),
    ],
)
def test_a_version_that_is_not_there_is_named_with_the_nearest(original: Project, version: str, words: str) -> None:
    output = original.run("sfddm", "compare", OURS, version, code=2)
    assert words in " ".join(output.split())
    assert "Traceback" not in output
