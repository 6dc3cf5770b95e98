"""What training batches are drawn from: which rows, images, mirrored images, noises and numbers; and where they lie."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from sfddm.data.store import Split
from sfddm.randomness import Purpose, epoch_indices, generator
from sfddm.training import batches
from sfddm.training.batches import (
    Rows,
    gathered,
    integers,
    moved,
    noise_like,
    real_images,
    resident,
    stored,
    take,
    take_images,
)
from tests.ranks import one_of

CPU, META = torch.device("cpu"), torch.device("meta")
"""The second has no memory, and stands for a GPU."""
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 2, 3, 4), dtype=np.uint8)


def split(flip: bool) -> Split:
    return Split(IMAGES, None, flip)


def test_a_process_alone_takes_all_rows_and_of_several_each_takes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(Rows(7)) == 7 and Rows(7).size == 7
    one_of(monkeypatch, 1, 3)
    for offset, own in ((0, [1, 4]), (1, [0, 3, 6]), (2, [2, 5])):
        rows = Rows(7, offset)
        assert list(range(7)[rows.own]) == own and len(rows) == len(own) and rows.size == 7


def test_images_are_those_of_the_batchs_place_in_the_epoch_in_minus_one_to_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = real_images(split(flip=False), Rows(4), CPU)
    for step in (0, 2, 5):
        chosen = epoch_indices(6, step, 4, 10)
        assert np.allclose(draw(6, step), IMAGES[chosen] / 127.5 - 1, atol=1e-6)
    one_of(monkeypatch, 1, 2)
    found = real_images(split(flip=False), Rows(4), CPU)(6, 2)
    assert np.allclose(found, IMAGES[epoch_indices(6, 2, 4, 10)[1::2]] / 127.5 - 1, atol=1e-6)


def test_half_of_the_images_are_mirrored_left_to_right_where_the_data_set_says_so() -> None:
    rows, mirrored = Rows(400), 0
    plain, flipped = (real_images(split(flip), rows, CPU)(6, 3).numpy() for flip in (False, True))
    wanted = generator(6, Purpose.FLIP, 3).random(400) < 0.5
    for one, other, mirror in zip(plain, flipped, wanted, strict=True):
        assert (other == (one[:, :, ::-1] if mirror else one)).all()
        mirrored += bool((other != one).any())
    assert mirrored == wanted.sum() and 170 < mirrored < 230
    assert not (real_images(split(True), rows, CPU)(6, 4).numpy() == flipped).all(), "others in the next iteration"


def test_batches_of_numbers_take_all_of_them_before_any_comes_again() -> None:
    numbers = torch.arange(100, 110)
    drawn = torch.cat([take(numbers, 6, step, Rows(4)) for step in range(5)])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == numbers.tolist()
    assert drawn[:4].tolist() == [100 + index for index in epoch_indices(6, 0, 4, 10)]


def test_labels_and_images_of_a_batch_belong_together(monkeypatch: pytest.MonkeyPatch) -> None:
    constant = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), dtype=np.uint8)
    kept = stored(constant, CPU)
    one_of(monkeypatch, 2, 3)
    for step in range(3):
        labels = take(torch.arange(10), 6, step, Rows(7))
        images = take_images(kept, 6, step, Rows(7), CPU)
        assert len(labels) == 2 and images[:, 0, 0, 0].tolist() == pytest.approx((labels / 127.5 - 1).tolist())


def test_numbers_reach_from_low_to_just_below_high(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(300)
    found = integers(np.random.default_rng(1), 3, 6, rows, CPU)
    assert found.dtype == torch.int64 and set(found.tolist()) == {3, 4, 5}
    one_of(monkeypatch, 1, 2)
    assert torch.equal(integers(np.random.default_rng(1), 3, 6, Rows(300), CPU), found[1::2])


def test_noise_has_the_shape_of_the_images_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.random.default_rng(1).standard_normal((300, 2, 5), dtype=np.float32)
    assert (noise_like(np.random.default_rng(1), Rows(300), torch.empty(300, 2, 5)).numpy() == whole).all()
    assert abs(whole.mean()) < 0.1 and abs(whole.std() - 1) < 0.05
    one_of(monkeypatch, 0, 2)
    found = noise_like(np.random.default_rng(1), Rows(300), torch.empty(150, 2, 5))
    assert found.dtype == torch.float32 and (found.numpy() == whole[::2]).all()


def where(monkeypatch: pytest.MonkeyPatch, device: torch.device, **free: int) -> str:
    """Where 80 bytes that were mapped come to lie; `free` is how many bytes are, by the kind of device."""
    monkeypatch.setattr(batches, "free_memory", lambda place: free[place])
    mapped: Tensor = torch.arange(10)
    found = resident(mapped, device)
    if found is mapped:
        return "disk"
    assert found.device.type == "meta" or torch.equal(found, mapped)
    return found.device.type


def test_what_takes_half_of_the_free_memory_at_most_is_brought_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert where(monkeypatch, CPU, cpu=160) == "cpu"
    assert where(monkeypatch, CPU, cpu=159) == "disk"
    assert where(monkeypatch, META, meta=160, cpu=160) == "meta", "a GPU's own memory first"
    assert where(monkeypatch, META, meta=159, cpu=160) == "cpu"
    assert where(monkeypatch, META, meta=159, cpu=159) == "disk"


def test_processes_share_the_memory_of_the_machine_and_not_that_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    one_of(monkeypatch, 0, 3)
    assert where(monkeypatch, CPU, cpu=480) == "cpu"
    assert where(monkeypatch, CPU, cpu=479) == "disk"
    assert where(monkeypatch, META, meta=160, cpu=0) == "meta"


@pytest.fixture
def every_warning() -> Iterator[None]:
    """torch gives some of its warnings once in a process, unless it is told otherwise."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.usefixtures("every_warning")
def test_images_that_only_a_file_holds_are_read_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = IMAGES.view()
    mapped.flags.writeable = False
    monkeypatch.setattr(batches, "free_memory", lambda _: 0)
    with warnings.catch_warnings(record=True) as given:
        assert stored(mapped, CPU).data_ptr() == mapped.ctypes.data
        assert given == []
        torch.from_numpy(mapped)
    assert len(given) == 1


def test_what_is_gathered_comes_to_the_device_from_wherever_it_lies() -> None:
    tensor = torch.arange(12).view(3, 4)
    assert gathered(tensor, (torch.tensor([2, 0]), torch.tensor([1, 3])), CPU).tolist() == [9, 3]
    assert gathered(tensor, (torch.tensor([2, 0]),), META).device == META
    assert moved(tensor, META).device == META and moved(tensor, CPU) is tensor
