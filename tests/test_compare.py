"""`sfddm compare`: runs, registered versions and revisions beside each other."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from attrs import evolve
from PIL import Image
from rich.console import Console

from sfddm.evaluation.statistics import difference, why_not
from sfddm.images import grid, png
from sfddm.report.compare import Subject, fields_that_differ, side_by_side
from sfddm.report.terminal import show
from tests.experiment import NOISE, OWN, SHARED
from tests.project import OURS, Project

DDIM = "tiny-ddim-t4-s0"


def subject(name: str, distance: float, noise: tuple[float, ...] = NOISE, **metrics: object) -> Subject:
    blocks = [distance + 0.1 + moved for moved in noise]
    return Subject(
        name=name,
        fields={"name": "tiny", "student.method.kind": "sfddm", "student.seeds": "0"},
        metrics={**SHARED, **OWN, "frechet_distance": distance, "frechet_blocks": blocks, "nfe": 4, **metrics},
        timing={"seconds_per_1000_images": 2.0, "latency_ms": 8.0},
        picture=png(grid(np.full((64, 1, 8, 8), 255 if name == "white" else 0, dtype=np.uint8), 16)),
    )


def printed(*subjects: Subject) -> list[str]:
    out = io.StringIO()
    show(list(subjects), Console(file=out, width=200))
    return out.getvalue().splitlines()


def line(lines: list[str], start: str) -> list[str]:
    return next(text for text in lines if text.strip().startswith(start)).split()


def test_only_fields_that_differ_are_listed_with_every_value() -> None:
    a, b = subject("a", 0.5), subject("b", 0.5)
    assert fields_that_differ([a, b]) == {}
    other = evolve(b, fields={"name": "tiny", "student.method.kind": "tract", "student.method.substeps": 3})
    assert fields_that_differ([a, b, other]) == {
        "student.method.kind": ["sfddm", "sfddm", "tract"],
        "student.seeds": ["0", "0", None],
        "student.method.substeps": [None, None, 3],
    }


def test_distances_differ_only_beyond_the_spread_of_common_noises() -> None:
    a = subject("a", 0.5)
    # 1 plus NOISE, whose variance is .00025: t(.975, 4) = 2.776, and 2.776 sqrt(.00025 / 5) = .0196.
    twice, less = (tuple(factor * value for value in NOISE) for factor in (2, -1))
    far = difference(a.metrics, subject("b", 1.5, twice).metrics, "frechet_distance")
    near = difference(a.metrics, subject("c", 0.505, less).metrics, "frechet_distance")
    assert far is not None and far.different and far.estimate == pytest.approx(1.0)
    assert far.half_width == pytest.approx(0.0196, abs=1e-4)
    assert near is not None and not near.different
    lines = printed(a, subject("b", 1.5, tuple(2 * value for value in NOISE)))
    assert line(lines, "Frechet distance")[2:] == ["0.5000", "1.5000", "+1.0000", "±", "0.0196"]
    assert "≈" in line(printed(a, subject("c", 0.505, tuple(-value for value in NOISE))), "Frechet distance")
    assert line(lines, "recall")[1:] == ["0.625", "0.625", "+0.000"], "no blocks, no interval"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("noise_seed", 4, "other noises (3 | 4)"),
        ("scorer", "inception", "other scorer (classifier-2:0123abcd | inception)"),
        ("scorer_version", 3, "other scorer's version (2 | 3)"),
        ("reference", "ffff", "other reference (4567cdef | ffff)"),
        ("real", "ffff", "other real images (abcd0123 | ffff)"),
        ("samples", 50, "other number of images (5000 | 50)"),
    ],
)
def test_figures_that_rest_on_other_things_are_not_compared(key: str, value: object, words: str) -> None:
    a, b = subject("a", 0.5), subject("b", 1.5, **{key: value})
    assert why_not(a.metrics, b.metrics) == [words] and why_not(a.metrics, a.metrics) == []
    lines = printed(a, b)
    assert any(f"B does not compare with A: {words}." in text for text in lines)
    assert line(lines, "Frechet distance")[2:] == ["0.5000", "1.5000"]
    assert line(lines, "s/1000")[1:] == ["2.000", "2.000", "+0.000"], "times do not rest on a scorer"


def test_three_are_all_held_against_the_first() -> None:
    lines = printed(subject("a", 0.5), subject("b", 1.5), subject("c", 2.5))
    assert line(lines, "Frechet distance")[2:] == ["0.5000", "1.5000", "2.5000", "+1.0000", "±", "0.0000", "+2.0000",
                                                   "±", "0.0000"]  # fmt: skip


def test_images_stand_side_by_side_in_the_order_of_the_names() -> None:
    drawn = np.asarray(Image.open(io.BytesIO(side_by_side([subject("white", 1), subject("black", 1)]))).convert("L"))
    left, right = np.array_split(drawn[drawn.shape[0] // 2], 2)
    assert (left > 250).mean() > 0.9 and (right < 5).mean() > 0.7


@pytest.fixture(scope="module")
def before(project: Project) -> Iterator[str]:
    """A tag on the project as it is, with its results."""
    with project.tag("before", ".dvc", "dvc.yaml", "dvc.lock", "params.yaml", "specs") as name:
        yield name


def test_runs_are_compared_and_their_images_written(project: Project) -> None:
    output = project.run("sfddm", "compare", OURS, DDIM, "--out", "both.png")
    lines = output.splitlines()
    assert line(lines, "student.method.kind")[1:] == ["sfddm", "free"]
    assert "teacher.timesteps" not in output and "student.index_set" not in output
    assert "±" in line(lines, "Frechet distance") and "does not compare" not in output
    picture = project.folder / "both.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()


def test_a_registered_version_is_the_run_that_it_was_made_from(original: Project) -> None:
    lines = original.run("sfddm", "compare", OURS, "models:/sfddm-tiny/1").splitlines()
    assert line(lines, "none") == ["none"]
    assert line(lines, "Frechet distance")[4:] == ["≈", "+0.0000", "±", "0.0000"]


def test_a_revision_has_the_spec_and_the_figures_of_its_day(project: Project, before: str) -> None:
    assert line(project.run("sfddm", "compare", f"{before}:{OURS}", OURS).splitlines(), "none") == ["none"]
    with project.edit("specs/tiny.yaml", "weight: 0.3, state", "weight: 0.4, state"):
        output = project.run("sfddm", "compare", f"{before}:{OURS}", OURS)
    assert line(output.splitlines(), "student.method.terms.feature.weight")[1:] == ["0.3", "0.4"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((OURS,), "compare takes 2 to 26 students, found 1"),
        ((OURS, "tiny-our-t4-s0"), f"did you mean '{OURS}'?"),
        ((OURS, f"befor:{OURS}"), "did you mean 'before'?"),
        ((OURS, "before:tiny-our-t4-s0"), f"did you mean '{OURS}'?"),
        ((OURS, DDIM, "--out", "both.gif"), "ends in .png"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(
    project: Project, before: str, names: tuple[str, ...], words: str
) -> None:
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


def test_a_revision_without_results_says_what_it_needs(project: Project) -> None:
    with project.tag("bare", ".dvc", "dvc.yaml", "params.yaml", "specs") as name:
        output = project.run("sfddm", "compare", OURS, f"{name}:{OURS}", code=2)
    assert "dvc.lock that was committed" in " ".join(output.split()) and "Traceback" not in output
