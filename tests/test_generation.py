"""Images from a stored denoiser: how often it is evaluated, which noise each image gets, and who has room for them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.images import to_bytes
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.generation import draw_from, generate
from sfddm.randomness import Purpose, normals
from tests.parts import draw, untrained_teacher

DDIM = Sampler(solver="ddim", levels=(32, 64), clip_sample=True)
STOCHASTIC = Sampler(solver="ancestral", levels=(16, 32, 64), clip_sample=True)


@pytest.fixture(scope="module")
def teacher() -> Denoiser:
    return untrained_teacher()


def test_every_image_is_drawn_once_whatever_the_batch_size(teacher: Denoiser) -> None:
    sizes: list[int] = []
    counting = teacher.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    found = generate(teacher, DDIM, 5, 7, 3, "test")
    counting.remove()
    assert sizes == [3, 3, 3, 3, 1, 1], "two evaluations of each batch"
    assert found.dtype == np.uint8 and found.shape == (7, 1, 8, 8)
    parts = [to_bytes(draw(teacher, DDIM, 5, range(low, high))) for low, high in ((0, 3), (3, 6), (6, 7))]
    assert np.array_equal(found, np.concatenate(parts))


def test_processes_that_get_no_images_have_room_for_none(teacher: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfddm.networks.generation.is_main", lambda: False)
    monkeypatch.setattr("sfddm.networks.generation.distributed_map", lambda *_: iter(()))
    assert generate(teacher, DDIM, 5, 4, 2, "test").shape == (0, 1, 8, 8)


def test_images_that_would_fill_the_memory_are_in_a_file_without_a_name(
    teacher: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = generate(teacher, DDIM, 5, 7, 3, "test")
    monkeypatch.setattr("sfddm.networks.generation.free_memory", lambda _: 2 * held.nbytes - 1)
    monkeypatch.setenv("SFDDM_SCRATCH", str(tmp_path / "scratch"))
    found = generate(teacher, DDIM, 5, 7, 3, "test")
    assert isinstance(found, np.memmap) and np.array_equal(found, held)
    assert not list((tmp_path / "scratch").iterdir()), "nothing is left of it, whatever ends the process"
    monkeypatch.setenv("SFDDM_SCRATCH", "/dev/full/scratch")
    with pytest.raises(UserError, match="could not write /dev/full/scratch"):
        generate(teacher, DDIM, 5, 7, 3, "test")


def test_images_of_one_noise_and_stream_are_equal(teacher: Denoiser) -> None:
    noise = normals(8, Purpose.EVALUATION_NOISE, range(1), (1, 8, 8)).repeat(2, axis=0)
    first, second = draw_from(teacher, STOCHASTIC, noise, 4, (6, 6))
    assert torch.allclose(first, second, atol=1e-5)
