"""On which levels `sfddm sample` and `sfddm export` draw: the student's own, or those that options ask for."""

from pathlib import Path

import pytest

from sfddm.cli.models import asked_sampler
from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.networks.contract import Contract
from sfddm.networks.layout import CONTRACT, write_sampler
from sfddm.runtime.files import write_json

OWN = (3, 20, 40, 64)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A student of four steps, on levels that no spacing gives."""
    write_sampler(tmp_path, Sampler(solver="ddim", levels=OWN, clip_sample=True))
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
    write_json(tmp_path / CONTRACT, contract.to_json())
    return tmp_path


@pytest.mark.parametrize(
    ("levels", "steps", "spacing", "drawn"),
    [
        (None, None, None, OWN),
        (None, 4, None, OWN),
        (None, 4, "uniform", (16, 32, 48, 64)),
        (None, 2, None, (32, 64)),
        (None, 2, "quadratic", (16, 64)),
        ("5,64", None, None, (5, 64)),
    ],
)
def test_options_choose_the_levels(
    student: Path, levels: str | None, steps: int | None, spacing: str | None, drawn: tuple[int, ...]
) -> None:
    assert asked_sampler(student, levels, steps, spacing).levels == drawn


@pytest.mark.parametrize(
    ("levels", "steps", "spacing", "words"),
    [
        ("20,40", None, None, "they end at 40, and images start from pure noise, which is level 64"),
        ("20,65", None, None, "level 65 is above"),
        ("20;64", None, None, "expected noise levels as in"),
        ("20,64", 2, None, "exclude each other"),
        (None, None, "uniform", "give their number too"),
    ],
)
def test_options_that_choose_none_are_refused(
    student: Path, levels: str | None, steps: int | None, spacing: str | None, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        asked_sampler(student, levels, steps, spacing)


def test_a_student_that_knows_its_own_levels_alone_can_be_asked_for_them(student: Path) -> None:
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction="v", index_levels=OWN)
    write_json(student / CONTRACT, contract.to_json())
    for levels, steps in ((None, 4), ("3,20,40,64", None)):
        assert asked_sampler(student, levels, steps, None).levels == OWN
    with pytest.raises(UserError, match="it knows its 4 levels alone"):
        asked_sampler(student, None, 3, None)
