"""Images that come as files: a folder of one's own, CelebA-HQ's, and LSUN's databases, in their formats on disk."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from sfddm.data import image_files, store
from sfddm.data.image_files import Picture, decode
from sfddm.data.prepare import prepare
from sfddm.errors import SpecError, UserError
from sfddm.images import from_bytes
from sfddm.runtime.files import digest_file, read_json
from sfddm.spec.data import LSUN, CelebAHQ, Folder
from sfddm.spec.read import parse_spec
from sfddm.training.batches import Rows, real_images
from tests.parts import data_stage, with_data

FOLDER = "kind: folder, path: mine, channels: 3, crop: center, size: 8, flip: false, corrupt: refuse"
"""All but the labels of a section."""
ALL = "labels: none, held_out: 0, split_seed: 0"
SHAPE = Picture(channels=3, size=8, crop="center")


def picture(number: int, width: int = 8, height: int = 8) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims so many pixels."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def described(**changes: Any) -> Folder:
    fields = {"kind": "folder", "path": "mine", "channels": 3, "crop": "center", "size": 8, "flip": False}
    return Folder(**{**fields, "labels": "none", "held_out": 0, "split_seed": 0, "corrupt": "refuse", **changes})


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of six images in two folders, inside the one that SFDDM_DATA_ROOT names."""
    folder = tmp_path / "datasets" / "mine"
    for number, name in enumerate(
        ("cats/b.png", "cats/a.png", "dogs/1.PNG", "dogs/2.png", "dogs/in/3.png", "cats/c.bmp")
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(picture(number), "BMP" if name.endswith("bmp") else "PNG"))
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "datasets"))
    (tmp_path / "out").mkdir()
    return folder


IN_ORDER = (1, 0, 5, 2, 3, 4)
"""Their numbers in the order of their paths."""


def test_a_folder_is_stored_in_the_order_of_its_paths(mine: Path, tmp_path: Path) -> None:
    prepare(described(), tmp_path / "out")
    split = store.read(tmp_path / "out", "train")
    assert np.array_equal(split.images, [picture(number).transpose(2, 0, 1) for number in IN_ORDER])
    assert split.labels is None and {path.name for path in (tmp_path / "out").iterdir()} == {"train.npy", "data.json"}
    content = read_json(tmp_path / "out" / "data.json")
    assert content == {"shape": [3, 8, 8], "classes": 0,
                       "train": {"images": 6, "sha256": digest_file(tmp_path / "out" / "train.npy")}}  # fmt: skip
    with pytest.raises(UserError, match="no classes to learn from"):
        split.required_labels()


def test_folders_are_classes_and_some_images_are_held_out(mine: Path, tmp_path: Path) -> None:
    prepare(described(labels="folders", held_out=2, split_seed=3), tmp_path / "out")
    splits = [store.read(tmp_path / "out", name) for name in store.SPLITS]
    assert [len(split.images) for split in splits] == [4, 2]
    known = {
        picture(number).transpose(2, 0, 1).tobytes(): label
        for number, label in zip(IN_ORDER, (0, 0, 0, 1, 1, 1), strict=True)
    }
    found = {
        image.tobytes(): label
        for split in splits
        for image, label in zip(split.images, split.required_labels(), strict=True)
    }
    assert found == known and read_json(tmp_path / "out" / "data.json")["classes"] == 2


def test_blocks_of_any_size_store_the_same(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for block in (1, 2 * 192, 10**9):
        monkeypatch.setattr(image_files, "BLOCK", block)
        prepare(described(labels="folders", held_out=2, split_seed=3), tmp_path / "out")
        digests.add(tuple(digest_file(path) for path in sorted((tmp_path / "out").iterdir())))
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"", "no image of the formats BMP"),
        (encoded(picture(9))[:60], ""),
        (b"GIF89a" + bytes(100), "no image of the formats BMP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of the formats BMP"),
        (encoded(picture(9, 8, 7)), "8x7 pixels, fewer than 8x8"),
        (encoded(np.zeros((8, 8), np.uint16)), "convert it to 8 bits a channel"),
        (bomb(10_000, 10_000), "decompression bomb"),
        (bomb(60_000, 60_000), "decompression bomb"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused_or_skipped_and_named(
    mine: Path, tmp_path: Path, damage: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine / "cats" / "a.png").write_bytes(damage)
    with pytest.raises(UserError) as caught:
        prepare(described(), tmp_path / "out")
    message = str(caught.value)
    assert f"{mine}: 1 of 6 images can't be used" in message and "  cats/a.png: " in message and reason in message
    assert "corrupt: skip" in message
    prepare(described(corrupt="skip"), tmp_path / "out")
    assert "1 of 6 images can't be used, and are left out:\n  cats/a.png: " in capsys.readouterr().err
    images = store.read(tmp_path / "out", "train").images
    assert np.array_equal(images, [picture(number).transpose(2, 0, 1) for number in IN_ORDER[1:]])
    assert read_json(tmp_path / "out" / "data.json")["train"]["skipped"] == ["cats/a.png"]


def test_labels_stay_with_their_images_when_some_are_skipped(mine: Path, tmp_path: Path) -> None:
    (mine / "cats" / "b.png").write_bytes(b"")
    prepare(described(corrupt="skip", labels="folders", held_out=1, split_seed=0), tmp_path / "out")
    splits = [store.read(tmp_path / "out", name) for name in store.SPLITS]
    classes = {
        image.tobytes(): label
        for split in splits
        for image, label in zip(split.images, split.required_labels(), strict=True)
    }
    cats = [picture(number).transpose(2, 0, 1).tobytes() for number in (1, 5)]
    assert len(classes) == 5 and [classes[cat] for cat in cats] == [0, 0] and sum(classes.values()) == 3


@pytest.mark.process
def test_the_stage_ends_with_2_and_stores_nothing_of_a_folder_with_a_corrupt_image(mine: Path, tmp_path: Path) -> None:
    (mine / "dogs" / "2.png").write_bytes(b"no image")
    for number in range(20):
        (mine / "dogs" / f"{number}-more.png").write_bytes(encoded(picture(number), "PNG"))
    section = f"{{{FOLDER}, labels: folders, held_out: 20, split_seed: 0}}"
    code, printed = data_stage(tmp_path, section, SFDDM_DATA_ROOT=str(mine.parent))
    assert code == 2
    assert "dogs/2.png: no image of the formats" in printed
    assert "Traceback" not in printed
    assert list((tmp_path / "runs" / "tiny").iterdir()) == []


def _nothing(folder: Path) -> None:
    for path in list(folder.rglob("*.*")):
        path.rename(path.with_suffix(".txt"))


@pytest.mark.parametrize(
    ("change", "spec", "words"),
    [
        (lambda folder: folder.rename(folder.parent / "elsewhere"), {}, "mine is not a folder"),
        (_nothing, {}, "has no images"),
        (lambda folder: (folder / "link.png").symlink_to("/etc/hostname"), {}, "link.png is a link"),
        (lambda folder: (folder / "more").symlink_to(folder / "dogs"), {}, "more is a link to a folder"),
        (lambda folder: (folder / "gone.png").symlink_to(folder.parent / "gone"), {}, "gone.png is a link"),
        (
            lambda folder: (folder / "x.png").write_bytes(b""),
            {"labels": "folders", "held_out": 1, "split_seed": 0},
            "1 images are not in the folder of a class, x.png for one",
        ),
        (lambda folder: None, {"labels": "folders", "held_out": 6, "split_seed": 0}, "held_out"),
        (
            lambda folder: [path.write_bytes(b"") for path in folder.rglob("*.*")],
            {"corrupt": "skip"},
            "none of 6 could be used",
        ),
    ],
)
def test_a_folder_that_cannot_be_meant_is_refused(
    mine: Path, tmp_path: Path, change: Callable[[Path], object], spec: dict[str, Any], words: str
) -> None:
    change(mine)
    with pytest.raises(UserError, match=words):
        prepare(described(**spec), tmp_path / "out")


def test_a_link_to_an_image_inside_and_what_is_hidden_or_no_image_do_no_harm(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine / "z.png").symlink_to(mine / "cats" / "a.png")
    (mine / ".hidden").mkdir()
    for name in (".hidden/x.png", "._y.png", "Thumbs.db", "notes.txt"):
        (mine / name).write_bytes(b"")
    prepare(described(), tmp_path / "out")
    images = store.read(tmp_path / "out", "train").images
    assert len(images) == 7 and np.array_equal(images[-1], picture(1).transpose(2, 0, 1))
    assert "2 files are not images by their names: 1 .db, 1 .txt" in capsys.readouterr().err


def test_the_middle_square_is_cropped_or_all_of_it_is_squeezed() -> None:
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = picture(0)
    assert np.array_equal(decode(encoded(wide), SHAPE), picture(0).transpose(2, 0, 1))
    halves = np.repeat(picture(1), 2, axis=1) // 2 + 60
    squeezed = decode(encoded(halves), Picture(channels=3, size=8, crop="stretch"))
    assert squeezed.shape == (3, 8, 8) and np.abs(squeezed - halves[:, ::2].transpose(2, 0, 1).astype(int)).mean() < 20


def test_grey_transparent_turned_and_indexed_images_become_what_the_spec_asks_for() -> None:
    grey = decode(encoded(np.full((8, 8, 3), 90, np.uint8)), Picture(channels=1, size=8, crop="center"))
    assert grey.shape == (1, 8, 8) and (grey == 90).all()
    clear = np.concatenate([picture(0), np.zeros((8, 8, 1), np.uint8)], axis=2)
    assert (decode(encoded(clear), SHAPE) == 255).all()
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    assert np.array_equal(decode(encoded(picture(0), exif=turned), SHAPE), picture(0)[::-1, ::-1].transpose(2, 0, 1))
    indexed = io.BytesIO()
    Image.fromarray(picture(0)).quantize(4).save(indexed, "PNG")
    assert decode(indexed.getvalue(), SHAPE).shape == (3, 8, 8)


def test_a_smaller_image_keeps_its_mean() -> None:
    flat = decode(encoded(np.full((37, 41, 3), 77, np.uint8)), SHAPE)
    assert (flat == 77).all()


@pytest.mark.parametrize("flip", [True, False])
def test_half_of_a_batch_is_mirrored_where_the_spec_says_so(mine: Path, tmp_path: Path, flip: bool) -> None:
    prepare(described(flip=flip), tmp_path / "out")
    draw = real_images(store.read(tmp_path / "out", "train"), Rows(6), torch.device("cpu"))
    upright = {from_bytes(picture(number).transpose(2, 0, 1)).numpy().tobytes() for number in IN_ORDER}
    drawn = [draw(5, step) for step in range(40)]
    mirrored = 0
    for batch in drawn:
        as_stored = [image.numpy().tobytes() in upright for image in batch]
        turned = [image.flip(-1).contiguous().numpy().tobytes() in upright for image in batch]
        assert all(one or other for one, other in zip(as_stored, turned, strict=True))
        mirrored += sum(turned)
    assert 80 < mirrored < 160 if flip else mirrored == 0
    assert torch.equal(draw(5, 7), drawn[7]) and not torch.equal(draw(6, 7), drawn[7])


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CelebA-HQ's folder with four faces."""
    folder = tmp_path / "datasets" / "celeba_hq_256"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number:05d}.jpg").write_bytes(encoded(picture(number, 256, 256), "JPEG", quality=95))
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "datasets"))
    return folder


def test_celeba_hq_is_the_first_images_of_its_folder(faces: Path, tmp_path: Path) -> None:
    prepare(CelebAHQ(kind="celeba-hq", images=3, size=256, flip=False), tmp_path)
    split = store.read(tmp_path, "train")
    files = [np.asarray(Image.open(faces / f"{number:05d}.jpg")).transpose(2, 0, 1) for number in range(3)]
    assert np.array_equal(split.images, files) and split.labels is None
    prepare(CelebAHQ(kind="celeba-hq", images=4, size=64, flip=False), tmp_path)
    assert store.read(tmp_path, "train").images.shape == (4, 3, 64, 64)


def test_an_incomplete_celeba_hq_is_refused(faces: Path, tmp_path: Path) -> None:
    data = CelebAHQ(kind="celeba-hq", images=30_000, size=256, flip=False)
    with pytest.raises(UserError, match="has 4 images, and the spec asks for 30000"):
        prepare(data, tmp_path)
    faces.rename(tmp_path / "gone")
    with pytest.raises(UserError, match="celeba_hq_256 is missing, and CelebA-HQ can't be downloaded"):
        prepare(data, tmp_path)


@pytest.fixture
def churches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LSUN's database of churches with six images: keys of 40 hexadecimal digits, JPEG or WebP files as values."""
    folder = tmp_path / "datasets" / "church_outdoor_train_lmdb"
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as transaction:
        for number in range(6):
            size = (300, 256) if number % 2 else (256, 341)
            kind, options = ("JPEG", {"quality": 75}) if number < 3 else ("WEBP", {"lossless": True})
            key = hashlib.sha1(bytes([number])).hexdigest().encode()
            transaction.put(key, encoded(picture(number, *size), kind, **options))
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "datasets"))
    return folder


def lsun(images: int = 6, size: int = 256) -> LSUN:
    return LSUN(kind="lsun", category="church_outdoor", images=images, crop="center", size=size, flip=True)


def test_lsun_is_read_from_its_database_in_the_order_of_its_keys(churches: Path, tmp_path: Path) -> None:
    prepare(lsun(images=5), tmp_path)
    images = store.read(tmp_path, "train").images
    order = sorted(range(6), key=lambda number: hashlib.sha1(bytes([number])).hexdigest())
    assert images.shape == (5, 3, 256, 256)
    for stored, number in zip(images, order, strict=False):
        if number >= 3:  # what is stored without loss can be compared
            whole = picture(number, *((300, 256) if number % 2 else (256, 341)))
            top, left = (whole.shape[0] - 256) // 2, (whole.shape[1] - 256) // 2
            assert np.array_equal(stored, whole[top : top + 256, left : left + 256].transpose(2, 0, 1))
    assert sorted(path.name for path in churches.iterdir()) == ["data.mdb", "lock.mdb"], "no cache of pickles beside it"


def test_a_database_on_a_disk_that_cannot_be_written_to_is_read(churches: Path, tmp_path: Path) -> None:
    (churches / "lock.mdb").unlink()
    churches.chmod(0o555)
    prepare(lsun(size=32), tmp_path)
    assert [path.name for path in churches.iterdir()] == ["data.mdb"]
    churches.chmod(0o755)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100_000])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda path: path.unlink(),
            "data.mdb is missing. Unpack http://dl.yf.io/lsun/scenes/church_outdoor_train_lmdb",
        ),
        (_cut, "is cut off at 100000 of"),
        (lambda path: path.write_bytes(b"x" * 100_000), "can't be read as an LMDB database"),
        (lambda path: None, "has 6 images, and the spec asks for 7"),
    ],
)
def test_a_database_that_is_not_there_or_not_whole_is_refused(
    churches: Path, tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    change(churches / "data.mdb")
    with pytest.raises(UserError, match=words):
        prepare(lsun(images=7), tmp_path)


def test_a_corrupt_image_in_a_database_is_named(churches: Path, tmp_path: Path) -> None:
    with lmdb.open(str(churches), map_size=2**24) as database, database.begin(write=True) as transaction:
        transaction.put(b"0" * 40, b"no image")
    with pytest.raises(UserError, match=rf"1 of 7 images can't be used:\n  {'0' * 40}: no image of the formats"):
        prepare(lsun(images=7), tmp_path)


@pytest.mark.parametrize(
    ("section", "path", "words"),
    [
        (
            f"{{{FOLDER}, {ALL}}}",
            "$.evaluation.scorers.convolutional.kind",
            "set data.labels to folders",
        ),
        (
            "{kind: celeba-hq, images: 30000, size: 256, flip: true}",
            "$.evaluation.scorers.convolutional.kind",
            "use efficientnet, inception or torchvision",
        ),
        (
            "{kind: lsun, category: bedroom, images: 9, crop: center, size: 8, flip: true}",
            "$.evaluation.scorers.convolutional.kind",
            "lsun has none",
        ),
        (
            "{kind: lsun, category: church, images: 9, crop: center, size: 8, flip: true}",
            "$.data.category",
            "did you mean 'church_outdoor'",
        ),
        (
            f"{{{FOLDER.replace('mine', '../mine')}, {ALL}}}",
            "$.data.path",
            "expected folders of A-Z",
        ),
        (
            f"{{{FOLDER.replace('mine', '/etc')}, {ALL}}}",
            "$.data.path",
            "expected folders of A-Z",
        ),
        (
            f"{{{FOLDER.replace('mine', 'a/../b')}, {ALL}}}",
            "$.data.path",
            "expected folders of A-Z",
        ),
        (
            f"{{{FOLDER.replace('channels: 3', 'channels: 4')}, {ALL}}}",
            "$.data.channels",
            "'1' or '3'",
        ),
        (f"{{{FOLDER}}}", "$.data", "missing key 'labels'"),
        (
            f"{{{FOLDER}, {ALL.replace('held_out: 0', 'held_out: 19')}}}",
            "$.data.held_out",
            "this holds 19 images out to measure distances to, which need at least 20",
        ),
    ],
)
def test_a_fault_in_the_section_is_named(section: str, path: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(with_data(section), "tiny.yaml")
    named = [line for line in str(caught.value).splitlines() if line.endswith(f"@ {path}")]
    assert named and words in named[0]
