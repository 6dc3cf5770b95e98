"""Scorers whose weights others publish, with random weights in their architectures; and statistics from files."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.untrained import write_untrained
from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.errors import SpecError, UserError
from sfddm.evaluation.measure import measure, notes
from sfddm.evaluation.moments import frechet_distance
from sfddm.evaluation.real import read_real, read_statistics, write_real
from sfddm.evaluation.scorer import Scorer, load_scorer
from sfddm.evaluation.scorers.extractor import Job, Shape, check_images, load_extractor, rgb, write_extractor
from sfddm.evaluation.scorers.inception import architecture
from sfddm.evaluation.scorers.published import read_published
from sfddm.pipeline.paths import Paths
from sfddm.runtime.kinds import import_kind
from sfddm.spec.evaluation import EfficientNet, Inception, OwnStatistics, PixelValues, Torchvision
from sfddm.spec.read import parse_spec
from sfddm.training.checkpoints import Checkpoints
from stages.scorer import scorer as stage
from tests.judges import drawn, reference, splits
from tests.parts import TINY, only_spec, still_classifier, tiny, with_scorers

CPU = torch.device("cpu")
OWN = OwnStatistics(kind="data")
GREY = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8)).astype(np.uint8)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch-fidelity's Inception and torchvision's ResNet-18 with random weights, as files that a user has."""
    from torchvision.models import resnet18  # type: ignore[import-untyped]

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(architecture().state_dict(), folder / "inception.pth")
    torch.save(resnet18().state_dict(), folder / "resnet18.pth")
    return folder


def inception(path: Path) -> Inception:
    return Inception(kind="inception", sha256=digest(path), statistics=OWN)


def torchvision(path: Path, model: str = "resnet18", size: int = 32) -> Torchvision:
    return Torchvision(kind="torchvision", model=model, size=size, sha256=digest(path), statistics=OWN)


def install(settings: Inception | Torchvision, shape: Shape, folder: Path) -> None:
    checkpoints = Checkpoints(folder / "checkpoints", {})
    job = Job(data=folder, shape=shape, device=CPU, curve=folder / "curve", checkpoints=checkpoints)
    write_extractor(folder, import_kind("scorer", settings.kind).make(settings, job), settings, shape)


def installed(settings: Inception | Torchvision, folder: Path, images: np.ndarray) -> Scorer:
    folder.mkdir()
    install(settings, (images.shape[1], images.shape[2], images.shape[3]), folder)
    write_real(folder, load_extractor(folder, CPU), splits(images, images), len(images), False, None)
    return load_scorer(folder, CPU)


@pytest.mark.heavy
def test_inception_is_torch_fidelitys(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity import FeatureExtractorInceptionV3

    path = weights / "inception.pth"
    monkeypatch.setenv("SFDDM_INCEPTION_WEIGHTS", str(path))
    install(inception(path), (1, 8, 8), tmp_path)
    monkeypatch.delenv("SFDDM_INCEPTION_WEIGHTS")
    extractor = load_extractor(tmp_path, CPU)
    theirs = FeatureExtractorInceptionV3("theirs", ["2048", "logits"], feature_extractor_weights_path=str(path))
    wanted, logits = theirs(torch.from_numpy(GREY[:2].repeat(3, axis=1)))
    ((found, scores),) = extractor.batches(GREY[:2])
    assert found.shape == (2, 2048) and torch.equal(found, wanted) and torch.equal(scores, logits)
    assert (extractor.features, extractor.classes) == (2048, 1008)
    assert extractor.name == f"inception-1:{digest(path)[:8]}" and "torch-fidelity 0." in extractor.version


@pytest.mark.heavy
@torch.inference_mode()
def test_a_torchvision_networks_features_are_what_its_head_is_given(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import resnet18

    path = weights / "resnet18.pth"
    monkeypatch.setenv("SFDDM_TORCHVISION_WEIGHTS", str(path))
    colour = np.random.default_rng(1).integers(0, 256, (40, 3, 32, 32)).astype(np.uint8)
    scorer = installed(torchvision(path), tmp_path / "scorer", colour)
    network = resnet18()
    network.load_state_dict(torch.load(path, weights_only=True))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (torch.from_numpy(colour) / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    ((found, scores),) = scorer.extractor.batches(colour)
    assert found.shape == (40, 512) and torch.allclose(scores, network.eval()(normalised), atol=1e-4)
    assert torch.allclose(network.fc(found), scores, atol=1e-4)
    grey = load_extractor(installed_grey(path, tmp_path), CPU)
    ((of_grey, _),) = grey.batches(GREY)
    assert of_grey.shape == (40, 512), "8x8 grey images are made 32x32 and coloured"
    strips = colour[None, :2]
    judged = measure(drawn(colour, strips), reference(colour, strips), {"resnet": scorer}, "test")
    assert judged["scorers"]["resnet"]["frechet_distance_at_n"] == pytest.approx(0, abs=1e-4)
    images, real = judged["notes"]
    assert images.startswith("resnet: 40 images are fewer than the 512 features")
    assert real.startswith("resnet: 40 real images are fewer than the 512 features")
    assert scorer.extractor.name == f"torchvision:resnet18-1:{digest(path)[:8]}"


@torch.inference_mode()
@pytest.mark.parametrize("side", [8, 50])
def test_images_are_resized_to_what_the_network_takes_without_aliasing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    from torchvision.models import resnet18
    from torchvision.transforms.functional import normalize, resize  # type: ignore[import-untyped]

    path = weights / "resnet18.pth"
    monkeypatch.setenv("SFDDM_TORCHVISION_WEIGHTS", str(path))
    images = np.random.default_rng(2).integers(0, 256, (3, 3, side, side)).astype(np.uint8)
    install(torchvision(path), (3, side, side), tmp_path)
    network = resnet18()
    network.load_state_dict(torch.load(path, weights_only=True))
    resized = resize(torch.from_numpy(images) / 255, [32, 32], antialias=True)
    wanted = network.eval()(normalize(resized, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    ((_, scores),) = load_extractor(tmp_path, CPU).batches(images)
    assert torch.allclose(scores, wanted, atol=1e-4)


def test_fewer_images_are_looked_at_together_where_they_are_larger(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as 32 of 224 x 224, a thousand at most and one at least."""
    path = weights / "resnet18.pth"
    monkeypatch.setenv("SFDDM_TORCHVISION_WEIGHTS", str(path))
    for size, batch in ((32, 1000), (113, 125), (224, 32), (1268, 1)):
        install(torchvision(path, size=size), (3, 8, 8), tmp_path)
        assert load_extractor(tmp_path, CPU).batch == batch


def test_grey_images_have_three_equal_channels_and_others_are_refused() -> None:
    grey, colour = GREY[:2], np.arange(24, dtype=np.uint8).reshape(1, 3, 2, 4)
    assert np.array_equal(rgb(grey).numpy(), np.concatenate([grey, grey, grey], axis=1))
    assert (rgb(colour).numpy() == colour).all()
    with pytest.raises(UserError, match=r"images of 2 channels: this scorer takes grey \(1\) and coloured \(3\) ones"):
        rgb(colour[:, :2])


def test_dark_images_are_images_and_images_in_0_to_1_are_not() -> None:
    check_images(GREY % 3, (1, 8, 8), "some")
    with pytest.raises(UserError, match=r"some: no value above 1, as if they were in \[0, 1\]"):
        check_images(GREY % 2, (1, 8, 8), "some")


def installed_grey(path: Path, root: Path) -> Path:
    installed(torchvision(path), root / "grey", GREY)
    return root / "grey"


def test_weights_are_found_in_torchs_cache(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SFDDM_TORCHVISION_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    with pytest.raises(
        UserError, match=r"set SFDDM_TORCHVISION_WEIGHTS .* resnet18-f37072fd\.pth, or put the file into"
    ):
        install(torchvision(weights / "resnet18.pth"), (3, 32, 32), tmp_path)
    cached.parent.mkdir(parents=True)
    cached.write_bytes((weights / "resnet18.pth").read_bytes())
    install(torchvision(cached), (3, 32, 32), tmp_path)
    assert (tmp_path / "weights.safetensors").exists()


class Trap:
    """What a pickle from outside could do: leave a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_published_weights_are_read_only_if_they_are_the_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    torch.save({"weight": Trap(sprung)}, path)
    monkeypatch.setenv("SFDDM_INCEPTION_WEIGHTS", str(path))
    with pytest.raises(UserError, match=f"has the SHA-256 {digest(path)}, and the spec expects {'0' * 64}"):
        read_published("SFDDM_INCEPTION_WEIGHTS", [], "0" * 64)
    with pytest.raises(UserError, match="contains more than tensors"):
        read_published("SFDDM_INCEPTION_WEIGHTS", [], digest(path))
    assert not sprung.exists(), "not even with the right hash"
    torch.save(torch.zeros(3), path)
    with pytest.raises(UserError, match="has no named tensors"):
        read_published("SFDDM_INCEPTION_WEIGHTS", [], digest(path))
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"weights\.pth contains more than tensors, or is damaged"):
        read_published("SFDDM_INCEPTION_WEIGHTS", [], digest(path))
    monkeypatch.setenv("SFDDM_INCEPTION_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"SFDDM_INCEPTION_WEIGHTS is .*nowhere': there is no such file"):
        read_published("SFDDM_INCEPTION_WEIGHTS", [], "0" * 64)


def test_weights_of_another_network_and_unknown_networks_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights / "resnet18.pth"
    for variable in ("SFDDM_INCEPTION_WEIGHTS", "SFDDM_TORCHVISION_WEIGHTS"):
        monkeypatch.setenv(variable, str(path))
    with pytest.raises(UserError, match=r"weights belong to another network: Missing key"):
        install(inception(path), (3, 32, 32), tmp_path)
    with pytest.raises(UserError, match="no classification network 'resnet81', did you mean 'resnet18'"):
        install(torchvision(path, "resnet81"), (3, 32, 32), tmp_path)
    with pytest.raises(UserError, match="no classification network 'retinanet_resnet50_fpn'"):
        install(torchvision(path, "retinanet_resnet50_fpn"), (3, 32, 32), tmp_path)
    with pytest.raises(UserError, match="squeezenet1_0 has no linear layer"):
        install(torchvision(path, "squeezenet1_0"), (3, 32, 32), tmp_path)
    assert not list(tmp_path.iterdir())


NETWORK = "network: {kind: convolutions, channels: [2]}, features: 3"
TRAINING = (
    "training: {iterations: 1, batch_size: 4, learning_rate: 1.0e-9, warmup: 0, decay: 0.0, clip_norm: 1.0, "
    "average: 0.0, precision: fp32, memory_format: contiguous, compile: false}"
)
CLASSIFIER = f"{{kind: classifier, trained_on: first-half, seed: 0, {NETWORK}, {TRAINING}}}"


def test_features_of_a_trained_classifier_alone_are_in_units_of_their_own_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    only_spec(tmp_path, with_scorers(f"{{trained: {CLASSIFIER}, pixels: {{kind: pixels}}}}"))
    paths = Paths("tiny")
    paths.data.mkdir(parents=True)
    prepare(tiny().data, paths.data)
    for name, in_units in (("trained", True), ("pixels", False)):
        stage("tiny", name)
        judge = load_scorer(paths.scorer(name), CPU)
        spread = judge.real.sample.features.std(0)
        assert torch.allclose(spread, torch.ones_like(spread), rtol=1e-2) == in_units
        assert bool((judge.real.scale == 1).all()) == (not in_units)
    # The features of networks that others trained are compared elsewhere as they are.
    published = [import_kind("scorer", kind) for kind in ("inception", "torchvision", "efficientnet")]
    assert [kind.STANDARDISE for kind in published] == [False] * 3


META = torch.device("meta")
"""A device without memory, in place of a GPU: what is computed there has a place and a shape."""


@pytest.mark.parametrize(
    ("settings", "batch", "features", "classes"),
    [
        (PixelValues(kind="pixels"), 1000, 64, 0),
        (still_classifier(), 1000, 16, 10),
        (EfficientNet(kind="efficientnet"), 32, 1280, 1000),
        (Torchvision(kind="torchvision", model="resnet18", size=32, sha256="0" * 64, statistics=OWN), 1000, 512, 1000),
        (Inception(kind="inception", sha256="0" * 64, statistics=OWN), 32, 2048, 1008),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_scorer_looks_at_images_on_the_device_that_it_is_read_onto(
    tmp_path: Path, settings: Any, batch: int, features: int, classes: int
) -> None:
    """One with random weights has ten classes, or as many as its architecture. On a GPU efficientnet takes 32."""
    write_untrained(tmp_path, settings, (1, 8, 8))
    extractor = load_extractor(tmp_path, META)
    assert (extractor.batch, extractor.features, extractor.classes) == (batch, features, classes)
    for found, count in zip(extractor.extract(GREY[:2]), (features, classes), strict=True):
        assert found.device == META and found.shape == (2, count)


def save_statistics(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return digest(path)


def test_given_statistics_stand_for_the_training_images(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights / "resnet18.pth"
    monkeypatch.setenv("SFDDM_TORCHVISION_WEIGHTS", str(path))
    scorer = installed(torchvision(path), tmp_path / "scorer", GREY)
    extractor, folder = scorer.extractor, tmp_path / "given"
    folder.mkdir()
    moments = scorer.real.sample.whole
    sha = save_statistics(tmp_path / "s.npz", mu=moments.mean.numpy() + 1, sigma=moments.covariance.numpy())
    given = read_statistics(tmp_path / "s.npz", sha, 50_000, 512)
    write_real(folder, extractor, splits(GREY, GREY), 40, False, given)
    real = read_real(folder)
    assert real.train is not None and real.train.count == 50_000
    assert frechet_distance(moments, real.train) == pytest.approx(512, rel=1e-6)
    assert real.digest == scorer.real.digest, "distances still go to images"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(4)}, "not a file of statistics .*sigma"),
        ({"mu": np.zeros(4), "sigma": np.array([{}], dtype=object)}, "not a file of statistics"),
        ({"mu": np.zeros(3), "sigma": np.eye(3)}, "are not of the scorer's 4 features"),
        ({"mu": np.full(4, np.nan), "sigma": np.eye(4)}, "not mean and covariance"),
        ({"mu": np.zeros(4), "sigma": np.triu(np.ones((4, 4)))}, "sigma is not symmetric"),
    ],
)
def test_files_that_hold_no_statistics_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    sha = save_statistics(tmp_path / "s.npz", **arrays)
    with pytest.raises(UserError, match=words):
        read_statistics(tmp_path / "s.npz", sha, 100, 4)


def test_missing_damaged_and_other_statistics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with pytest.raises(UserError, match=r"s\.npz can't be read .*SFDDM_DATA_ROOT"):
        read_statistics(path, "0" * 64, 100, 4)
    save_statistics(path, mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(UserError, match="and the spec expects 0000"):
        read_statistics(path, "0" * 64, 100, 4)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="not a file of statistics"):
        read_statistics(path, digest(path), 100, 4)


def test_the_stage_measures_distances_to_the_test_split_and_says_so_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    only_spec(tmp_path)
    paths = Paths("tiny")
    paths.data.mkdir(parents=True)
    prepare(tiny().data, paths.data)
    train, test = (store.read(paths.data, split).images for split in store.SPLITS)
    stage("tiny", "pixels")
    real = load_scorer(paths.scorer("pixels"), CPU).real
    seen = ((real.sample.features.numpy() + 1) * 127.5).round().astype(np.uint8)
    assert sorted(map(bytes, seen)) == sorted(map(bytes, test.reshape(-1, 64)))
    assert real.held_out and real.floor_images == 256
    assert real.train is not None and real.train.count == 1500
    assert np.allclose(real.train.mean, train.reshape(-1, 64).mean(0) / 127.5 - 1, atol=1e-5)
    (paths.data / "test.npy").unlink()
    stage("tiny", "pixels")
    judge = load_scorer(paths.scorer("pixels"), CPU)
    assert not judge.real.held_out and judge.real.train is None
    assert len(judge.real.sample.features) == 750 and judge.real.floor_images == 256
    assert any("the data hold no images out" in note for note in notes(5000, judge))


PUBLISHED = "{{usual: {{kind: inception, sha256: {sha256}, statistics: {{kind: data}}}}}}"


def test_a_spec_names_a_published_scorer_by_the_hash_of_its_file() -> None:
    spec = parse_spec(with_scorers(PUBLISHED.format(sha256="a" * 64)), "tiny.yaml")
    assert isinstance(spec.scorer("usual"), Inception)
    with pytest.raises(
        SpecError, match=r"expected a SHA-256 of 64 hexadecimal digits.* @ \$\.evaluation\.scorers\.usual\.sha256"
    ):
        parse_spec(with_scorers(PUBLISHED.format(sha256="abc")), "tiny.yaml")
    with pytest.raises(SpecError, match="unknown kind 'inseption', did you mean 'inception'"):
        parse_spec(TINY.replace("kind: classifier", "kind: inseption"), "tiny.yaml")
