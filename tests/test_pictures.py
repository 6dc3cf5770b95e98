"""Images as pictures: where they lie, what is between them, what becomes of large ones."""

import io

import numpy as np
from PIL import Image

from sfddm.images import grid, png, reduced


def test_a_grid_shows_every_image_in_its_place_and_the_page_between_them() -> None:
    images = np.zeros((3, 1, 64, 64), dtype=np.uint8)
    images[1] = 200
    grey, opaque = np.moveaxis(np.asarray(grid(images, 2)), 2, 0)
    assert grey.shape == (2 * 64 + 2, 2 * 64 + 2) and grey[10, 80] == 200 and grey[10, 10] == 0
    assert opaque[10, 80] == opaque[10, 10] == opaque[80, 10] == 255
    assert opaque[10, 64] == opaque[64, 10] == opaque[80, 80] == 0, "gaps, and the place of a fourth"


def test_a_picture_is_the_same_bytes_twice_and_small_images_are_enlarged() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    assert png(grid(images, 2)) == png(grid(images, 2))
    read = np.asarray(Image.open(io.BytesIO(png(grid(images, 2)))))
    assert read.shape == (64, 130, 4) and (read[::8, :64:8, :3] == images[0].transpose(1, 2, 0)).all()


def test_large_images_are_reduced_to_means_and_small_ones_left_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    small = reduced(images, 32)
    assert small.shape == (2, 3, 21, 32)
    assert small[1, 2, 20, 31] == np.round(images[1, 2, 60:63, 93:96].mean())
    assert reduced(small, 32) is small
