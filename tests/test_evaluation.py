"""Figures against known answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.evaluation.measure import check_inputs, measure
from sfddm.evaluation.metrics import BLOCKS, METRICS
from sfddm.evaluation.moments import Moments, MomentSums, flat_pixels, frechet_distance, pixel_moments
from sfddm.evaluation.real import read_real, write_real
from sfddm.evaluation.scorer import Scorer, load_scorer
from sfddm.evaluation.scorers.classifier import make
from sfddm.evaluation.scorers.extractor import Job, load_extractor
from sfddm.evaluation.statistics import Measured, paired_difference
from sfddm.images import from_bytes, to_bytes
from sfddm.networks import storage
from sfddm.networks.generation import draw, generate
from sfddm.networks.weights import write_tensors
from sfddm.randomness import Purpose, generator
from sfddm.spec.evaluation import Classifier
from sfddm.training.checkpoints import Checkpoints
from tests.parts import reference_of, tiny, untrained_teacher

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
    first, rest = MomentSums(4).add(features[:20]), MomentSums(4).add(features[20:])
    both = (first + rest).moments()
    assert both.count == 50 and torch.allclose(both.covariance, features.T.cov())
    assert first.moments().count == 20, "its own sums are left alone"


def test_pixel_distance_of_images_at_half_their_brightness() -> None:
    images = 2 * np.random.default_rng(0).integers(0, 128, (40, 1, 3, 2)).astype(np.uint8)
    pixels = images.reshape(40, 6) / 127.5 - 1
    # Half the byte is half the pixel less 1/2: the means differ by (m + 1)/2, the standard deviations by half.
    expected = ((pixels.mean(0) + 1) ** 2).sum() / 4 + pixels.var(0, ddof=1).sum() / 4
    found = frechet_distance(pixel_moments(images), pixel_moments(images // 2))
    assert found == pytest.approx(expected, rel=1e-5)


def test_pixels_are_averaged_until_there_are_few_enough() -> None:
    small = torch.rand(2, 1, 32, 32)
    assert torch.equal(flat_pixels(small), small.flatten(1)), "1024 numbers are few enough"
    large = torch.rand(2, 3, 64, 64)
    assert flat_pixels(large).shape == (2, 3 * 16 * 16), "32 x 32 in three channels are not"
    assert torch.allclose(flat_pixels(large)[:, 1], large[:, 0, :4, 4:8].mean((1, 2)))
    odd = torch.rand(2, 1, 33, 33)
    assert torch.equal(flat_pixels(odd)[:, -1], odd[:, 0, 32, 32]), "the edge is not lost"


def of_blocks(*blocks: float, whole: float = 0.0) -> Measured:
    return Measured(whole=whole, blocks=blocks)


def test_a_paired_difference_by_hand() -> None:
    a, b = of_blocks(3, 5, 4, 7, 6), of_blocks(2, 3, 3, 4, 3)
    # Differences 1, 2, 1, 3, 3: mean 2, variance 1 (of 5 - 1), standard error sqrt(1/5); t(.975, 4) = 2.776445.
    found = paired_difference([a], [b])
    assert found.estimate == pytest.approx(2) and found.half_width == pytest.approx(2.776445 * 0.2**0.5, rel=1e-6)
    assert found.different
    swapped = paired_difference([b], [a])
    assert (swapped.estimate, swapped.half_width) == (-found.estimate, found.half_width) and swapped.different


def test_training_seeds_widen_a_paired_difference_by_hand() -> None:
    a = [of_blocks(3, 5, 4, 7, 6, whole=5.0), of_blocks(5, 5, 4, 7, 8, whole=7.0)]
    b = [of_blocks(2, 3, 3, 4, 3, whole=whole) for whole in (2.0, 3.0, 4.0)]
    # Means over seeds less b: 2, 2, 1, 3, 4, variance 1.3; the wholes' variances are 2 of 2 seeds and 1 of 3.
    found = paired_difference(a, b)
    assert found.estimate == pytest.approx(2.4)
    assert found.half_width == pytest.approx(2.776445 * (1.3 / 5 + 2 / 2 + 1 / 3) ** 0.5, rel=1e-6)
    assert not found.different, "as the blocks alone would have it"
    assert paired_difference(a[:1], b[:1]).half_width < found.half_width


def test_what_noises_do_to_both_students_alike_is_no_difference() -> None:
    noise = (0.0, 100.0, -50.0, 30.0, 7.0)
    a, b = of_blocks(*(1 + moved for moved in noise)), of_blocks(*noise)
    assert paired_difference([a], [b]).estimate == pytest.approx(1)
    assert paired_difference([a], [b]).half_width == pytest.approx(0, abs=1e-9)
    assert not paired_difference([a], [a]).different
    unequal = of_blocks(100, 0, -50, 7, 30)
    assert not paired_difference([a], [unequal]).different, "the same blocks in another order share nothing"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """tiny's data, and its scorer."""
    spec, root = tiny(), tmp_path_factory.mktemp("scored")
    (root / "data").mkdir()
    prepare(spec.data, root / "data")
    (root / "scorer").mkdir()
    settings = spec.evaluation.scorer
    assert isinstance(settings, Classifier)
    checkpoints = Checkpoints(root / "checkpoints", {})
    job = Job(data=root / "data", shape=spec.data.shape, device=CPU, curve=root / "curve", checkpoints=checkpoints)
    make(settings, job)(root / "scorer")
    extractor = load_extractor(root / "scorer", CPU)
    write_real(root / "scorer", extractor, store.read(root / "data", "train").images, 5000, True, None)
    return root / "data", root / "scorer"


def judged(images: np.ndarray, teachers: np.ndarray, scorer: Scorer) -> dict[str, Any]:
    half = scorer.real.half
    if len(images) < half.count:  # the floor that `write_real` makes for so few; its distance is not looked at
        scorer = evolve(scorer, real=evolve(scorer.real, half=evolve(half, count=len(images) // 2)))
    return measure(images, reference_of(teachers), scorer, "test")


def test_figures_of_the_references_own_images(scored: tuple[Path, Path]) -> None:
    images = np.array(store.read(scored[0], "train").images)
    scorer = load_scorer(scored[1], CPU)
    found = judged(images, images, scorer)
    added = {"path_length", "nfe"}  # of the sampler, by `evaluate`
    assert {metric.key for metric in METRICS if not metric.timed} - set(found) == added
    assert set(BLOCKS.values()) <= set(found)
    assert found["frechet_distance"] == pytest.approx(0, abs=1e-6), (
        "the very images that the scorer's statistics are of"
    )
    assert found["pixel_distance"] == pytest.approx(0, abs=1e-6)
    assert (found["mse_to_teacher"], found["agreement"], found["samples"]) == (0, 1, 1500)
    assert found["ssim"] == pytest.approx(1, abs=1e-5) and found["feature_cosine"] == pytest.approx(1)
    assert (found["precision"], found["recall"], found["psnr"]) == (1, 1, None), "infinite, which JSON can't say"
    darker = judged(images // 2, images, scorer)
    assert darker["frechet_distance"] > 0.1 and darker["agreement"] < 1
    assert darker["ssim"] < 0.99 and darker["feature_cosine"] < 0.999 and darker["kernel_distance"] > 0.01
    assert darker["precision"] < 1 and darker["recall"] < 1
    expected = ((images.astype(float) - images // 2) / 127.5) ** 2
    assert darker["mse_to_teacher"] == pytest.approx(expected.mean(), rel=1e-4)
    assert darker["psnr"] == pytest.approx(10 * np.log10(4 / expected.mean()), rel=1e-4)
    assert darker["teacher_frechet_distance"] == pytest.approx(found["frechet_distance"], abs=1e-6)
    inverted = judged(255 - images, images, scorer)
    mean = (images / 127.5 - 1).mean(0)
    assert inverted["pixel_distance"] == pytest.approx(4 * (mean**2).sum(), rel=1e-5), "the sign of every pixel alone"


def test_blocks_are_consecutive_fifths_of_the_images(scored: tuple[Path, Path]) -> None:
    images = np.array(store.read(scored[0], "train").images)[:503]
    scorer = load_scorer(scored[1], CPU)
    found = judged(images, images, scorer)
    second = MomentSums(16).add(scorer.features(images[101:202])).moments()
    assert len(found["frechet_blocks"]) == 5
    assert found["frechet_blocks"][1] == pytest.approx(frechet_distance(second, scorer.real.moments), rel=1e-6)
    darker = images.copy()
    darker[403:] //= 2
    changed = judged(darker, images, scorer)
    assert changed["frechet_blocks"][:4] == pytest.approx(found["frechet_blocks"][:4])
    assert changed["frechet_blocks"][4] > found["frechet_blocks"][4] + 0.1
    for name in ("mse", "ssim", "cosine", "agreement", "kernel"):
        before, after = found[f"{name}_blocks"], changed[f"{name}_blocks"]
        assert len(after) == 5 and after[:4] == pytest.approx(before[:4]) and after[4] != pytest.approx(before[4]), name
    assert changed["mse_to_teacher"] == pytest.approx(
        np.average(changed["mse_blocks"], weights=[101, 101, 101, 100, 100])
    )
    with pytest.raises(UserError, match="samples is 9: comparisons need at least 10"):
        judged(images[:9], images[:9], scorer)


def test_the_floor_is_between_disjoint_halves_and_rows_have_it_at_the_same_number(scored: tuple[Path, Path]) -> None:
    images = np.array(store.read(scored[0], "train").images)
    scorer = load_scorer(scored[1], CPU)
    order = generator(0, Purpose.SPLIT).permutation(1500)
    assert not set(order[:750]) & set(order[750:])
    halves = [MomentSums(16).add(scorer.features(images[half])).moments() for half in (order[:750], order[750:])]
    found = judged(images[order[750:]], images[order[750:]], scorer)
    assert found["real_distance"] == pytest.approx(frechet_distance(*halves), rel=1e-6)
    assert found["real_distance_samples"] == 750
    assert found["frechet_distance_at_floor"] == pytest.approx(found["real_distance"], rel=1e-6), "the other half"
    assert found["frechet_distance"] < found["real_distance"], "to all images the distance is smaller"
    twice = np.concatenate([images[order[750:]], 255 - images])
    assert judged(twice, twice, scorer)["frechet_distance_at_floor"] == pytest.approx(found["real_distance"], rel=1e-6)


def test_the_floors_halves_are_not_larger_than_a_row(scored: tuple[Path, Path], tmp_path: Path) -> None:
    images = np.array(store.read(scored[0], "train").images)
    write_real(tmp_path, load_scorer(scored[1], CPU).extractor, images, 200, True, None)
    real = read_real(tmp_path, 16, (1, 8, 8))
    assert real.half.count == 200 and real.distance > load_scorer(scored[1], CPU).real.distance, "biased upward by more"
    assert real.moments.count == 1500 and len(real.features) == 1500


def test_too_few_images_for_the_features_are_noted(scored: tuple[Path, Path]) -> None:
    images = np.array(store.read(scored[0], "train").images)
    scorer = load_scorer(scored[1], CPU)
    assert judged(images[:40], images[:40], scorer)["notes"] == []
    first, floor = judged(images[:16], images[:16], scorer)["notes"]
    assert first.startswith("16 images are fewer than the scorer's 16 features") and "far too large" in first
    assert floor.startswith("8 images at the floor are")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda images: images.astype(np.float32) / 127.5 - 1,
            r"expected uint8 from 0 to 255, found float32 from -1 to 1",
        ),
        (lambda images: np.where(images > 9, np.nan, images), r"found float64 with \d+ values that are NaN"),
        (lambda images: images // 255, r"no value above 1, as if they were in \[0, 1\]"),
        (lambda images: images[:, :, :7], r"expected \[N, 1, 8, 8\] .*, found \[20, 1, 7, 8\]"),
        (lambda images: images[:0], r"found \[0, 1, 8, 8\]"),
    ],
)
def test_arrays_that_are_no_images_are_refused(
    scored: tuple[Path, Path], tmp_path: Path, spoil: Any, words: str
) -> None:
    images = np.array(store.read(scored[0], "train").images)[:20]
    scorer = load_scorer(scored[1], CPU)
    with pytest.raises(UserError, match=f"the teacher's images in the reference: .*{words}"):
        judged(images, spoil(images), scorer)
    with pytest.raises(UserError, match=f"the real images: .*{words}"):
        write_real(tmp_path, scorer.extractor, spoil(images), 20, True, None)
    assert not list(tmp_path.iterdir())


def test_a_student_of_another_size_is_refused_before_it_draws(scored: tuple[Path, Path]) -> None:
    images = np.array(store.read(scored[0], "train").images)[:20].repeat(2, axis=2)
    with pytest.raises(UserError, match=r"judges images of \(1, 8, 8\) .*, the student makes \(1, 16, 8\)"):
        check_inputs((1, 16, 8), reference_of(images), load_scorer(scored[1], CPU))


def test_a_floor_of_more_images_than_there_are_is_refused(scored: tuple[Path, Path]) -> None:
    images = np.array(store.read(scored[0], "train").images)[:749]
    with pytest.raises(UserError, match="the scorer's floor is of 750 images, and there are 749 of the teacher"):
        check_inputs((1, 8, 8), reference_of(images), load_scorer(scored[1], CPU))


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


def test_data_keeps_every_image_once(scored: tuple[Path, Path]) -> None:
    train, test = (store.read(scored[0], split) for split in store.SPLITS)
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
