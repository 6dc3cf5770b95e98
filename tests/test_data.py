"""Data sets: what is read is what was published, and what is missing is named with its remedy."""

import gzip
import hashlib
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sfddm.data import store
from sfddm.data.prepare import load, prepare
from sfddm.data.resize import area_average
from sfddm.data.sets import cifar10
from sfddm.errors import SpecError, UserError
from sfddm.runtime.files import digest_file, read_json
from sfddm.runtime.kinds import module_name
from sfddm.spec.data import CIFAR10, MNIST, Data, FashionMNIST
from sfddm.spec.read import parse_spec
from tests.parts import data_stage, tiny, with_data

SECTION = "{kind: fashion-mnist, size: 14}"
RAW = Path("FashionMNIST") / "raw"
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    """The IDX file of an array of unsigned bytes."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def loaded(data: Data) -> list[store.Block]:
    """The splits of a data set that comes in one block each."""
    blocks = [list(stream.blocks) for stream in load(data)]
    assert all(len(found) == 1 for found in blocks)
    return [found[0] for found in blocks]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data sets with 20 training and 5 test images, named by SFDDM_DATA_ROOT; the files' folder in it."""
    folder = tmp_path / "datasets" / RAW
    folder.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 5)):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(pictures(count)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8) % 10))
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "datasets"))
    return folder


def test_digits_are_the_bytes_that_they_have_always_been(tmp_path: Path) -> None:
    prepare(tiny().data, tmp_path)
    assert {path.stem: digest_file(path)[:16] for path in tmp_path.iterdir()} == {
        "train": "9757306a21169046",
        "train_labels": "76218135c319c809",
        "test": "02290dff299d56ff",
        "test_labels": "76a1a520e330bb58",
        "data": "1be28fb4e0946c54",
    }


def test_fashion_mnist_keeps_the_published_split_and_order(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    prepare(FashionMNIST(kind="fashion-mnist", size=28), tmp_path / "out")
    for name, count in (("train", 20), ("test", 5)):
        split = store.read(tmp_path / "out", name)
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
        assert np.array_equal(split.images, pictures(count)[:, None])
        assert np.array_equal(split.labels, np.arange(count) % 10)
    described = read_json(tmp_path / "out" / "data.json")
    assert described["shape"] == [1, 28, 28] and described["classes"] == 10
    assert (described["train"]["images"], described["test"]["images"]) == (20, 5)


def test_mnist_is_read_from_its_own_folder(raw: Path, tmp_path: Path) -> None:
    raw.parent.rename(tmp_path / "datasets" / "MNIST")
    train, test = loaded(MNIST(kind="mnist", size=28))
    assert np.array_equal(train.images, pictures(20)[:, None]) and np.array_equal(test.images, pictures(5)[:, None])


def cifar_file(images: np.ndarray, labels: list[int]) -> bytes:
    """What Python 2 pickled for CIFAR-10: the same instructions in the same order, with fewer images."""
    listed = b"".join(bytes([75, label]) for label in labels)
    named = b"".join(b"U\x05%d.png" % (label % 10) for label in labels)
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\t("
    shape = b"K\x01K\x14M\x00\x0c\x86"
    dtype = b"cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    pixels = b"T" + struct.pack("<i", images.size) + images.tobytes()
    return (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05("
        + listed + b"eU\x04dataq\x06" + array + shape + dtype + pixels + b"tbU\tfilenamesq\x0c]q\r(" + named + b"eu."
    )  # fmt: skip


Batches = dict[str, tuple[np.ndarray, list[int]]]


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    """Two training files and a test file of CIFAR-10's format in SFDDM_DATA_ROOT, with their MD5 as the published."""
    made = {}
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "datasets"))
    (tmp_path / "datasets" / cifar10.FOLDER).mkdir(parents=True)
    for number, name in enumerate(("data_batch_1", "data_batch_2", "test_batch")):
        images = np.random.default_rng(number).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
        made[name] = images, [(number + image) % 10 for image in range(20)]
        (tmp_path / "datasets" / cifar10.FOLDER / name).write_bytes(cifar_file(*made[name]))
    digests = {name: hashlib.md5(cifar_file(*content)).hexdigest() for name, content in made.items()}
    monkeypatch.setattr(cifar10, "TEST", {"test_batch": digests.pop("test_batch")})
    monkeypatch.setattr(cifar10, "TRAIN", digests)
    return made


def test_cifar10_is_read_from_its_files_and_from_its_archive(batches: Batches, tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / cifar10.FOLDER
    for where in ("folder", "archive"):
        out = tmp_path / where
        out.mkdir()
        prepare(CIFAR10(kind="cifar10", size=32, flip=False), out)
        train, test = store.read(out, "train"), store.read(out, "test")
        assert np.array_equal(train.images, np.concatenate([batches[f"data_batch_{n}"][0] for n in (1, 2)]))
        assert np.array_equal(train.required_labels(), np.concatenate([batches[f"data_batch_{n}"][1] for n in (1, 2)]))
        assert np.array_equal(test.images, batches["test_batch"][0])
        if where == "folder":
            with tarfile.open(tmp_path / "datasets" / cifar10.ARCHIVE, "w:gz") as archive:
                archive.add(folder, cifar10.FOLDER)
            shutil.rmtree(folder)
    assert digest_file(tmp_path / "folder" / "train.npy") == digest_file(tmp_path / "archive" / "train.npy")
    assert (tmp_path / "folder" / "data.json").read_bytes() == (tmp_path / "archive" / "data.json").read_bytes()


def test_pixels_and_labels_are_those_that_unpickling_gives(batches: Batches) -> None:
    content = cifar_file(*batches["test_batch"])
    unpickled = pickle.loads(content, encoding="bytes")
    pixels, labels = cifar10._parse(content)
    assert np.array_equal(unpickled[b"data"].ravel(), pixels) and unpickled[b"labels"] == labels.tolist()


def test_half_of_cifar10s_size_is_the_mean_of_four_pixels(batches: Batches) -> None:
    train = next(iter(load(CIFAR10(kind="cifar10", size=16, flip=False))[0].blocks))
    means = batches["data_batch_1"][0].reshape(20, 3, 16, 2, 16, 2).mean((3, 5))
    assert np.array_equal(train.images, np.rint(means))


def test_only_the_published_files_of_cifar10_are_read(batches: Batches, tmp_path: Path) -> None:
    path = tmp_path / "datasets" / cifar10.FOLDER / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"data_batch_2 is damaged \(its MD5 is [0-9a-f]{32}, and the published one"):
        prepare(CIFAR10(kind="cifar10", size=32, flip=False), tmp_path)


def test_the_digests_of_cifar10_are_those_that_torchvision_publishes() -> None:
    from torchvision.datasets import CIFAR10 as Published

    assert list(cifar10.TRAIN.items()) == [tuple(pair) for pair in Published.train_list]
    assert list(cifar10.TEST.items()) == [tuple(pair) for pair in Published.test_list]
    assert (Published.url, Published.tgz_md5) == (cifar10.URL, cifar10.ARCHIVE_MD5)
    assert (Published.base_folder, Published.filename) == (cifar10.FOLDER, cifar10.ARCHIVE)


def test_half_the_size_is_the_mean_of_four_pixels(raw: Path) -> None:
    train = loaded(FashionMNIST(kind="fashion-mnist", size=14))[0]
    means = pictures(20).reshape(20, 14, 2, 14, 2).mean((2, 4))
    assert np.array_equal(train.images, np.rint(means)[:, None])


@pytest.mark.parametrize(("size", "before"), [(32, 2), (31, 1)])
def test_above_its_own_size_an_image_is_on_black(raw: Path, size: int, before: int) -> None:
    train = loaded(FashionMNIST(kind="fashion-mnist", size=size))[0].images
    assert train.shape == (20, 1, size, size)
    middle = slice(before, before + 28)
    assert np.array_equal(train[:, 0, middle, middle], pictures(20))
    assert train.sum(dtype=int) == pictures(20).sum(dtype=int), "and around it, black"


@pytest.mark.parametrize("size", [1, 3, 5, 6])
def test_a_new_pixel_is_the_mean_of_the_area_that_it_covers(size: int) -> None:
    images = np.random.default_rng(size).integers(0, 256, (4, 6, 7), dtype=np.uint8)
    # On a grid that both sizes divide, every area is a whole number of cells.
    cells = images.repeat(size, axis=1).repeat(size, axis=2).reshape(4, size, 6, size, 7).astype(int)
    expected = [round(Fraction(int(total), 6 * 7)) for total in cells.sum((2, 4)).flat]
    assert np.array_equal(area_average(images, size).ravel(), expected)


def test_the_files_may_be_gzipped(raw: Path) -> None:
    before = loaded(FashionMNIST(kind="fashion-mnist", size=14))
    for path in list(raw.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    after = loaded(FashionMNIST(kind="fashion-mnist", size=14))
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old.images, new.images) and np.array_equal(old.labels, new.labels)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (IMAGES, idx(pictures(20))[:-1], f"{IMAGES} is damaged"),
        (IMAGES, b"", f"{IMAGES} is damaged"),
        (IMAGES, idx(pictures(20))[:9], f"{IMAGES} is damaged"),
        (LABELS, idx(pictures(20)), "no IDX file of unsigned bytes in 1 dimensions"),
        (LABELS, idx(np.zeros(19, dtype=np.uint8)), "19 labels"),
        (IMAGES, idx(pictures(20)[:, :14]), "images of 28x28 pixels"),
    ],
)
def test_a_damaged_file_is_named(raw: Path, name: str, content: bytes, words: str) -> None:
    (raw / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        load(FashionMNIST(kind="fashion-mnist", size=14))


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-20],
        lambda packed: packed[:30] + bytes([packed[30] ^ 255]) + packed[31:],
        lambda packed: b"<html>",
    ],
)
def test_a_damaged_archive_is_named(raw: Path, damage: Callable[[bytes], bytes]) -> None:
    (raw / f"{IMAGES}.gz").write_bytes(damage(gzip.compress((raw / IMAGES).read_bytes())))
    (raw / IMAGES).unlink()
    with pytest.raises(UserError, match=rf"{IMAGES}\.gz is damaged"):
        load(FashionMNIST(kind="fashion-mnist", size=14))


@pytest.mark.process
def test_the_stage_reads_what_the_environment_names(raw: Path, tmp_path: Path) -> None:
    code, printed = data_stage(tmp_path, SECTION, SFDDM_DATA_ROOT=str(raw.parents[1]))
    assert code == 0, printed
    assert store.read(tmp_path / "runs" / "tiny" / "data", "train").images.shape == (20, 1, 14, 14)


@pytest.mark.process
def test_the_stage_reads_scratch_by_default(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    raw.parents[1].rename(tmp_path / "scratch" / "datasets")
    assert data_stage(tmp_path, SECTION) == (0, "")


@pytest.mark.process
def test_missing_files_are_named_with_the_remedy(tmp_path: Path) -> None:
    code, printed = data_stage(tmp_path, SECTION, SFDDM_DATA_ROOT=str(tmp_path / "datasets"))
    folder = tmp_path / "datasets" / RAW
    assert code == 2
    assert "Traceback" not in printed
    missing, remedy = printed.split("error: ")[1].split("Put ")
    assert f"{folder / IMAGES}.gz is missing" in missing
    assert "can't be downloaded" in missing
    assert all(f"{name}.gz" in remedy for name in (IMAGES, LABELS, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"))
    assert f"into {folder}" in remedy
    assert "github.com" in remedy
    assert "set SFDDM_DATA_ROOT" in remedy
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "runs" / "tiny" / "data").exists()


def test_a_spec_of_fashion_mnist_names_its_module_and_its_shape() -> None:
    data = parse_spec(with_data(SECTION), "x").data
    assert module_name("data", data.kind) == "sfddm.data.sets.fashion_mnist" and data.shape == (1, 14, 14)


@pytest.mark.parametrize(
    ("section", "path", "words"),
    [
        ("{kind: fashion-mnist, size: 0}", "$.data.size", "at least 1 and at most 32, found 0"),
        ("{kind: fashion-mnist, size: 33}", "$.data.size", "at least 1 and at most 32, found 33"),
        ("{kind: fashion-mnist, size: 13}", "$.teacher.source.network.channels", "13x13 images can't be halved"),
        ("{kind: fashion-mnist}", "$.data", "missing key 'size'"),
        ("{kind: fashion-mnist, size: 14, train: 5}", "$.data.train", "unknown key 'train'"),
        ("{kind: fashion_mnist, size: 14}", "$.data.kind", "did you mean 'fashion-mnist'?"),
        ("{kind: cifar, size: 14}", "$.data.kind", "did you mean 'cifar10'?"),
        ("{kind: fotos, size: 14}", "$.data.kind", "expected 'digits' or 'mnist' or 'fashion-mnist' or 'cifar10' or"),
    ],
)
def test_a_fault_in_the_section_is_named(section: str, path: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(with_data(section), "tiny.yaml")
    named = [line for line in str(caught.value).splitlines() if line.endswith(f"@ {path}")]
    assert named and words in named[0]
