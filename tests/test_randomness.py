"""Random numbers that depend on a seed, a purpose and a position alone."""

import numpy as np
import pytest

from sfddm.randomness import Purpose, epoch_indices, generator, normals


def test_purposes_keep_their_numbers() -> None:
    """Every published image, batch and split comes from them: a renumbered purpose is another experiment."""
    assert {name: purpose.value for name, purpose in Purpose.__members__.items()} == {
        "EVALUATION_NOISE": 1,
        "TRAJECTORY_NOISE": 2,
        "TRAINING_BATCH": 3,
        "STEP_NOISE": 4,
        "SPLIT": 5,
        "EPOCH": 6,
        "SEARCH_NOISE": 7,
        "IMPORT_NOISE": 8,
        "FLIP": 9,
        "SCORE_NOISE": 10,
        "DROPOUT": 11,
        "AUGMENTATION": 12,
    }


def test_a_stream_is_philox_under_seed_and_purpose_from_its_position_on() -> None:
    """The position counts blocks of 2^128 numbers, so that streams of one seed never meet."""
    by_hand = np.random.Philox(key=5 + (2 << 64), counter=7 << 128)
    assert (generator(5, Purpose.TRAJECTORY_NOISE, 7).random(9) == np.random.Generator(by_hand).random(9)).all()
    first = np.random.Generator(np.random.Philox(key=5 + (2 << 64), counter=0))
    assert (generator(5, Purpose.TRAJECTORY_NOISE).random(9) == first.random(9)).all()


def test_streams_of_other_seeds_purposes_and_positions_are_others() -> None:
    drawn = {
        tuple(generator(seed, purpose, index).integers(0, 2**62, 4))
        for seed in (0, 1)
        for purpose in Purpose
        for index in (0, 1)
    }
    assert len(drawn) == 2 * len(Purpose) * 2


def test_a_noise_is_the_same_whatever_is_drawn_with_it() -> None:
    drawn = normals(3, Purpose.EVALUATION_NOISE, range(2, 7), (2, 3, 3))
    assert drawn.shape == (5, 2, 3, 3) and drawn.dtype == np.float32
    for row, index in zip(drawn, range(2, 7), strict=True):
        alone = generator(3, Purpose.EVALUATION_NOISE, index).standard_normal((2, 3, 3), dtype=np.float32)
        assert (row == alone).all()
        assert (row == normals(3, Purpose.EVALUATION_NOISE, range(index, index + 1), (2, 3, 3))[0]).all()
    many = normals(3, Purpose.EVALUATION_NOISE, range(2000), (4,))
    assert abs(many.mean()) < 0.05 and many.std() == pytest.approx(1, abs=0.05)
    assert normals(3, Purpose.EVALUATION_NOISE, range(0), (4,)).shape == (0, 4)


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (10, 25), (7, 7), (5, 1)])
def test_batches_are_cut_from_the_epochs_orders_one_after_another(size: int, batch: int) -> None:
    """Epoch e is a permutation drawn from position e of its stream; batch i holds numbers i * batch and after."""
    orders = [generator(1, Purpose.EPOCH, epoch).permutation(size) for epoch in range(2 * batch)]
    flow = np.concatenate(orders)
    for step in range(size):
        found = epoch_indices(1, step, batch, size)
        assert found.dtype == np.int64 and found.tolist() == flow[step * batch : (step + 1) * batch].tolist()


def test_every_image_comes_once_an_epoch_in_another_order_each_time() -> None:
    epochs = [epoch_indices(1, step, 10, 10).tolist() for step in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epoch_indices(2, 0, 10, 10).tolist() != epochs[0]
