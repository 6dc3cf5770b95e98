"""Figures against known answers, on tiny's data and in the features of its classifier."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.evaluation.measure import check_inputs, measure, notes
from sfddm.evaluation.metrics import JACKKNIFE, METRICS, panel, usable
from sfddm.evaluation.moments import Moments, MomentSums, Sample, blocks, frechet_distance
from sfddm.evaluation.real import Splits, write_real
from sfddm.evaluation.scorer import Scorer, load_scorer
from sfddm.evaluation.scorers.classifier import make
from sfddm.evaluation.scorers.extractor import Job, load_extractor, write_extractor
from sfddm.images import from_bytes, to_bytes
from sfddm.networks import storage
from sfddm.networks.generation import generate
from sfddm.networks.weights import write_tensors
from sfddm.spec.evaluation import Classifier
from sfddm.training.checkpoints import Checkpoints
from tests.judges import drawn, reference, splits
from tests.parts import draw, tiny, untrained_teacher

CPU = torch.device("cpu")


def moments(mean: float, variance: float, dimensions: int = 3) -> Moments:
    covariance = variance * torch.eye(dimensions, dtype=torch.float64)
    return Moments(100, torch.full((dimensions,), mean, dtype=torch.float64), covariance)


def test_frechet_distance_of_known_gaussians() -> None:
    assert frechet_distance(moments(1, 2), moments(1, 2)) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(moments(0, 1), moments(2, 1)) == pytest.approx(3 * 4)
    assert frechet_distance(moments(0, 1), moments(0, 9)) == pytest.approx(3 * (3 - 1) ** 2)


def test_frechet_distance_of_covariances_that_do_not_commute() -> None:
    a = Moments(9, torch.zeros(2).double(), torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double())
    b = Moments(9, torch.zeros(2).double(), torch.tensor([[1.0, -0.5], [-0.5, 4.0]]).double())
    overlap = np.sqrt(np.linalg.eigvals((a.covariance @ b.covariance).numpy())).sum()
    assert frechet_distance(a, b) == pytest.approx(2 + 3 + 1 + 4 - 2 * overlap)


def test_moments_gathered_in_batches_are_those_of_the_whole() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double() + 5
    sums = MomentSums(4)
    for batch in features.split(7):
        sums.add(batch)
    found = sums.moments()
    assert torch.allclose(found.mean, features.mean(0)) and torch.allclose(found.covariance, features.T.cov())
    less = (sums - MomentSums(4).add(features[:20])).moments()
    assert less.count == 30
    assert torch.allclose(less.mean, features[20:].mean(0)) and torch.allclose(less.covariance, features[20:].T.cov())
    assert sums.moments().count == 50, "its own sums are left alone"


def test_a_sample_without_a_block_is_what_is_left() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    found = Sample(features).without(slice(10, 25))
    left = torch.cat([features[:10], features[25:]]).double()
    assert found.count == 35
    assert torch.allclose(found.mean, left.mean(0)) and torch.allclose(found.covariance, left.T.cov())


SEEN, SAMPLES = 1000, 200
"""Training images that stand for those that the classifier was trained with, and how many images a student has."""


@frozen
class Scored:
    """tiny's real images, and its classifier, as a panel of one."""

    data: Path
    folder: Path
    real: Splits

    def load(self) -> Scorer:
        return load_scorer(self.folder, CPU)

    def judged(self, images: np.ndarray, teachers: np.ndarray) -> dict[str, Any]:
        """All figures, the scorer's among the others."""
        found = measure(drawn(images), reference(teachers), {"one": self.load()}, "test")
        return {**found, **found["scorers"]["one"]}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    spec, root = tiny(), tmp_path_factory.mktemp("scored")
    for name in ("data", "scorer"):
        (root / name).mkdir()
    prepare(spec.data, root / "data")
    settings = spec.scorer("convolutional")
    assert isinstance(settings, Classifier)
    checkpoints = Checkpoints(root / "checkpoints", {})
    job = Job(data=root / "data", shape=spec.data.shape, device=CPU, curve=root / "curve", checkpoints=checkpoints)
    write_extractor(root / "scorer", make(settings, job), settings, spec.data.shape)
    train, test = (np.array(store.read(root / "data", split).images) for split in store.SPLITS)
    real = splits(train, test, SEEN)
    write_real(root / "scorer", load_extractor(root / "scorer", CPU), real, SAMPLES, True, None)
    return Scored(root / "data", root / "scorer", real)


@pytest.fixture(scope="module")
def held_out(scored: Scored) -> np.ndarray:
    """The 297 images that distances go to."""
    assert scored.real.test is not None
    return scored.real.test


def test_every_metric_and_every_jackknife_has_its_place(scored: Scored, held_out: np.ndarray) -> None:
    judge = scored.load()
    found = measure(drawn(held_out), reference(held_out), {"other": judge, "one": judge}, "test")
    assert panel(found) == ["other", "one"], "the spec's order"
    assert found["scorers"]["one"] == found["scorers"]["other"]
    stored = {metric.key: metric.judged for metric in METRICS if not metric.timed and metric.key != "nfe"}
    of_scorers = {key for key, judged in stored.items() if judged}
    assert of_scorers <= set(found["scorers"]["one"]) and not of_scorers & set(found)
    assert set(stored) - of_scorers <= set(found)
    for key, jackknife in JACKKNIFE.items():
        part = found if key in found else found["scorers"]["one"]
        draws = {"images", "real", "both"} if "distance" in key else {"images"}
        assert set(part[jackknife]) == draws, key
        assert {len(part[jackknife][draw]) for draw in draws} == {10}, key


def test_figures_of_the_held_out_images_themselves(scored: Scored, held_out: np.ndarray) -> None:
    found = scored.judged(held_out, held_out)
    assert found["frechet_distance_at_n"] == pytest.approx(0, abs=1e-6), "the very images that distances go to"
    assert (found["mse_to_teacher"], found["agreement"], found["samples"]) == (0, 1, 297)
    assert found["ssim"] == pytest.approx(1, abs=1e-5) and found["feature_cosine"] == pytest.approx(1)
    assert (found["precision"], found["recall"], found["psnr"]) == (1, 1, None), "infinite, which JSON can't say"
    assert (found["real_images"], found["held_out"]) == (297, True)
    darker = scored.judged(held_out // 2, held_out)
    assert darker["frechet_distance"] > 0.1 and darker["agreement"] < 1
    assert darker["ssim"] < 0.99 and darker["feature_cosine"] < 0.999 and darker["kernel_distance"] > 0.01
    assert darker["precision"] < 1 and darker["recall"] < 1
    expected = ((held_out.astype(float) - held_out // 2) / 127.5) ** 2
    assert darker["mse_to_teacher"] == pytest.approx(expected.mean(), rel=1e-4)
    assert darker["psnr"] == pytest.approx(10 * np.log10(4 / expected.mean()), rel=1e-4)
    assert darker["teacher_frechet_distance"] == pytest.approx(found["frechet_distance"], abs=1e-6)


def test_who_copies_training_images_is_near_to_them_alone(scored: Scored) -> None:
    copies = scored.real.train
    found = scored.judged(copies, copies)
    assert found["train_distance"] == pytest.approx(0, abs=1e-6)
    assert found["frechet_distance"] > 0.01
    assert found["frechet_distance"] == pytest.approx(found["teacher_frechet_distance"])
    darker = scored.judged(copies // 2, copies)
    assert darker["train_distance"] > 0.1, "not the teacher's"


def without_blocks(found: dict[str, Any], key: str) -> np.ndarray:
    """The metric without each block of images, a Frechet distance with its bias."""
    bias = found["frechet_distance_at_n"] - found["frechet_distance"] if key == "frechet_distance" else 0.0
    return np.array(found[f"{key}_jackknife"]["images"]) + bias


def test_without_a_block_of_images_it_does_not_matter_what_is_in_that_block(scored: Scored) -> None:
    images = scored.real.train[:503]
    changed = images.copy()
    changed[blocks(503)[9]] //= 2
    before, after = (scored.judged(some, images) for some in (images, changed))
    for key in ("frechet_distance", "kernel_distance", "agreement", "mse_to_teacher", "ssim", "feature_cosine"):
        one, other = (without_blocks(found, key) for found in (before, after))
        assert other[9] == pytest.approx(one[9], abs=1e-9), key
        assert all(a != pytest.approx(b, abs=1e-9) for a, b in zip(one[:9], other[:9], strict=True)), key
        assert after[key] != pytest.approx(before[key], abs=1e-9), key
    assert after["teacher_frechet_distance_jackknife"] == before["frechet_distance_jackknife"]
    assert before["teacher_frechet_distance_jackknife"] == before["frechet_distance_jackknife"]


def test_the_floor_is_where_other_real_images_are(scored: Scored) -> None:
    """A student that drew the very images that the floor is of, as many as they are, is at the floor."""
    floor = scored.real.divided(SAMPLES)[1][:]
    found = scored.judged(floor, floor)
    assert found["floor_images"] == SAMPLES
    assert found["floor"] > 0.01
    assert found["frechet_distance_at_n"] == pytest.approx(found["floor"], rel=1e-6)
    assert found["frechet_distance"] < 0.1 * found["floor"], "real images are at no distance from real images"
    more = np.concatenate([floor, 255 - floor])
    found = scored.judged(more, more)
    assert found["frechet_distance_at_floor"] == pytest.approx(found["floor"], rel=1e-6), "of as many images alone"
    assert found["frechet_distance_at_n"] > 2 * found["floor"]


def test_a_floor_that_is_not_there_is_not_compared_with(scored: Scored, held_out: np.ndarray, tmp_path: Path) -> None:
    shutil.copytree(scored.folder, tmp_path / "scorer")
    extractor = load_extractor(tmp_path / "scorer", CPU)
    for given, keys in (
        (splits(scored.real.train, held_out, 1500), {"floor", "frechet_distance_at_floor"}),
        (splits(scored.real.train), {"train_distance"}),
    ):
        write_real(tmp_path / "scorer", extractor, given, SAMPLES, True, None)
        found = evolve(scored, folder=tmp_path / "scorer").judged(held_out, held_out)
        assert {key for key, value in found.items() if value is None} == {"psnr", *keys}


def test_too_few_images_for_the_features_are_noted(scored: Scored) -> None:
    """16 features: a covariance needs more images, and several times as many to be worth something."""
    judge = scored.load()
    assert list(notes(64, judge)) == []
    (few,) = notes(16, judge)
    assert few.startswith("16 images are fewer than the 16 features")
    metrics = {"panel": ["one", "other"], "notes": [f"one: {few}"]}
    assert usable(metrics) == ["other"]
    (small,) = notes(63, judge)
    assert small.startswith("63 images are few for 16 features: Frechet distances without their bias are rough")
    assert usable({**metrics, "notes": [f"one: {small}"]}) == ["one", "other"], "rough ones may decide"
    wide = evolve(judge, extractor=evolve(judge.extractor, features=297))
    assert [note.split(":")[0] for note in notes(10_000, wide)] == [
        "297 real images are fewer than the 297 features and can't fill their covariance"
    ]


def test_data_that_hold_nothing_out_are_noted(scored: Scored) -> None:
    judge = scored.load()
    (note,) = notes(500, evolve(judge, real=evolve(judge.real, held_out=False)))
    assert note.startswith("the data hold no images out, so distances are measured to images that the teacher may")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda images: images.astype(np.float32) / 127.5 - 1, r"expected uint8 from 0 to 255, found float32"),
        (lambda images: images // 255, r"no value above 1, as if they were in \[0, 1\]"),
        (lambda images: images[:, :, :7], r"expected \[N, 1, 8, 8\] .*, found \[297, 1, 7, 8\]"),
        (lambda images: images[:0], r"found \[0, 1, 8, 8\]"),
    ],
)
def test_arrays_that_are_no_images_are_refused(
    scored: Scored, held_out: np.ndarray, tmp_path: Path, spoil: Any, words: str
) -> None:
    judge, spoiled = scored.load(), spoil(held_out)
    with pytest.raises(UserError, match=f"the teacher's images in the reference: .*{words}"):
        check_inputs((1, 8, 8), reference(spoiled, held_out[None, :2]), {"one": judge})
    for real in (splits(spoiled, held_out), splits(held_out, spoiled)):
        with pytest.raises(UserError, match=f"the real images: .*{words}"):
            write_real(tmp_path, judge.extractor, real, SAMPLES, True, None)
    assert not list(tmp_path.iterdir())


def test_a_scorer_of_images_of_another_size_is_named_before_anything_is_drawn(scored: Scored) -> None:
    judge = scored.load()
    other = evolve(judge, extractor=evolve(judge.extractor, shape=(1, 16, 8)))
    with pytest.raises(UserError, match=r"the scorer other judges images of \(1, 16, 8\) .* Run `dvc repro`"):
        check_inputs((1, 8, 8), reference(scored.real.train), {"one": judge, "other": other})


def test_too_few_of_the_teachers_images_are_refused(scored: Scored) -> None:
    with pytest.raises(UserError, match=r"evaluation\.samples is 19: comparisons need at least 20, better thousands"):
        check_inputs((1, 8, 8), reference(scored.real.train[:19]), {"one": scored.load()})
    check_inputs((1, 8, 8), reference(scored.real.train[:20]), {"one": scored.load()})


def test_images_do_not_depend_on_the_batch_size() -> None:
    teacher = untrained_teacher()
    for solver in ("ddim", "ancestral"):
        sampler = Sampler(solver=solver, levels=(16, 64), clip_sample=True)
        whole, parts = (generate(teacher, sampler, 5, 12, size, "test") for size in (12, 5))
        assert np.abs(whole.astype(int) - parts).max() <= 1, "but for the last bit of the network's arithmetic"


def test_nan_images_are_refused() -> None:
    teacher = untrained_teacher()
    teacher.network.conv_out.bias.data[:] = float("nan")
    with pytest.raises(UserError, match="NaN"):
        draw(teacher, Sampler(solver="ddim", levels=(64,), clip_sample=False), 0, range(2))


def test_bytes_and_images_convert_without_loss() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert (to_bytes(from_bytes(every)) == every).all()
    assert to_bytes(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_data_keeps_every_image_once(scored: Scored) -> None:
    train, test = (store.read(scored.data, split) for split in store.SPLITS)
    assert train.images.shape == (1500, 1, 8, 8) and test.images.shape == (297, 1, 8, 8)
    assert train.images.max() == 255 and train.images.min() == 0
    assert set(np.unique(train.labels)) == set(range(10))


@pytest.mark.parametrize("damage", ["missing", "truncated", "pickle"])
def test_missing_damaged_and_pickled_data_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "train.npy"
    np.save(tmp_path / "train_labels.npy", np.zeros(3))
    if damage == "truncated":
        np.save(path, np.zeros((100, 100)))
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"train\.npy is (missing|damaged)"):
        store.read(tmp_path, "train")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    storage.write(tmp_path, untrained_teacher())
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("    8,\n    16\n", "    8,\n    32\n"))
    with pytest.raises(UserError, match="don't fit the network"):
        storage.load(tmp_path, CPU)


@pytest.mark.parametrize("damage", ["missing", "truncated", "pickle", "nan"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: str) -> None:
    storage.write(tmp_path, untrained_teacher())
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    match damage:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(path.read_bytes()[:1000])
        case "pickle":
            torch.save({"conv_in.weight": torch.zeros(1)}, path)
        case "nan":
            teacher = untrained_teacher()
            teacher.network.conv_in.bias.data[0] = float("nan")
            write_tensors(path, teacher.network.state_dict())
    with pytest.raises(UserError, match=path.name):
        storage.load(tmp_path, CPU)


def test_diffusers_itself_loads_a_stored_network(tmp_path: Path) -> None:
    from diffusers import UNet2DModel

    teacher = untrained_teacher()
    storage.write(tmp_path, teacher)
    theirs = UNet2DModel.from_pretrained(tmp_path, local_files_only=True, low_cpu_mem_usage=False)
    x, level = torch.randn(2, 1, 8, 8), torch.tensor([3, 60])
    assert torch.equal(theirs(x, level - 1).sample, teacher(x, level).output), "level t is timestep t - 1 of diffusers"
