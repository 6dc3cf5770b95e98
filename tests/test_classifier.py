"""The `classifier` scorer: which images it learns from, and its second architecture."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import nn

from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.data.store import Split
from sfddm.errors import SpecError, UserError
from sfddm.evaluation.scorers.classifier import _train, make
from sfddm.evaluation.scorers.extractor import Job, load_extractor, seen_by, unseen_by, write_extractor
from sfddm.evaluation.scorers.networks import Network
from sfddm.randomness import Purpose, generator
from sfddm.spec.data import Digits
from sfddm.spec.evaluation import Classifier, Convolutions, Part, PixelValues, Transformer
from sfddm.spec.read import parse_spec
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from tests.parts import TINY, convolutions, random_split, still_classifier

CPU = torch.device("cpu")
SMALL = Transformer(kind="transformer", patch=2, width=6, depth=2, heads=3)
DESCRIBED = "network: {kind: convolutions, channels: [8, 16]}"


def classifier(part: Part) -> Classifier:
    return evolve(still_classifier(), trained_on=part)


def test_halves_are_random_disjoint_and_all_images_together() -> None:
    first, second = seen_by(classifier("first-half"), 101), seen_by(classifier("second-half"), 101)
    assert (len(first), len(second)) == (50, 51)
    assert sorted([*first, *second]) == list(range(101))
    assert 10 < sum(first < 50) < 40, "neither the first images nor the last ones"
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()


def test_halves_are_the_same_for_every_classifier_and_not_those_of_the_floor() -> None:
    other = evolve(classifier("first-half"), seed=99, network=SMALL)
    first = set(seen_by(classifier("first-half"), 100))
    assert set(seen_by(other, 100)) == first
    assert len(first & set(generator(0, Purpose.SPLIT).permutation(100)[:50])) < 40


def test_halves_stay_what_they_are() -> None:
    """Others would make other scorers of the same spec, which don't compare."""
    assert seen_by(classifier("first-half"), 12).tolist() == [0, 2, 4, 5, 6, 9]
    assert seen_by(classifier("second-half"), 12).tolist() == [1, 3, 7, 8, 10, 11]


def test_what_a_scorer_has_not_seen_is_the_rest() -> None:
    for part, unseen in (("first-half", "second-half"), ("second-half", "first-half")):
        assert np.array_equal(unseen_by(classifier(part), 101), seen_by(classifier(unseen), 101))
    assert not len(unseen_by(classifier("all"), 101))
    assert np.array_equal(seen_by(classifier("all"), 101), np.arange(101))
    assert np.array_equal(unseen_by(PixelValues(kind="pixels"), 101), np.arange(101)), "it learns from none"


def weights(folder: Path, part: Part, data: Split) -> list[torch.Tensor]:
    """The weights after two epochs of a classifier's training on its part."""
    settings = classifier(part)
    settings = evolve(settings, training=evolve(settings.training, iterations=4, learning_rate=0.01, batch_size=3))
    folder.mkdir()
    with Curve(folder / "curve", "test", 4, 3) as curve:
        trained = _train(settings, data, CPU, curve, Checkpoints(folder / "checkpoints", {}))
    return list(trained.state_dict().values())


@pytest.mark.parametrize("part", ["first-half", "second-half"])
def test_a_classifier_learns_from_every_image_of_its_half_and_from_no_other(tmp_path: Path, part: Part) -> None:
    data, settings = random_split(), classifier(part)
    before = weights(tmp_path / "before", part, data)
    others, labels = data.images.copy(), np.array(data.labels)
    others[unseen_by(settings, 12)] //= 2
    labels[unseen_by(settings, 12)] = 3
    after = weights(tmp_path / "after", part, Split(others, labels, flip=False))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for seen in seen_by(settings, 12):
        changed = data.images.copy()
        changed[seen] //= 2
        moved = weights(tmp_path / str(seen), part, Split(changed, data.labels, flip=False))
        assert not all(torch.equal(a, b) for a, b in zip(before, moved, strict=True))


def test_both_halves_tell_the_same_classes_apart(tmp_path: Path) -> None:
    data = random_split()
    labels = np.zeros(12, np.int64)
    labels[seen_by(classifier("second-half"), 12)[0]] = 6
    heads = [
        weights(tmp_path / part, part, Split(data.images, labels, flip=False))[-1]
        for part in ("first-half", "second-half")
    ]
    assert [len(head) for head in heads] == [7, 7]


def test_half_of_one_image_is_refused(tmp_path: Path) -> None:
    data = random_split()
    with pytest.raises(UserError, match=r"trained_on: first-half of 1 images is none"):
        weights(tmp_path / "none", "first-half", Split(data.images[:1], np.zeros(1, np.int64), flip=False))


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand digits to train on, and the others."""
    folder = tmp_path_factory.mktemp("digits")
    prepare(Digits(kind="digits", train=1000, split_seed=0), folder)
    return folder


@pytest.mark.parametrize(
    ("network", "part"),
    [
        (convolutions(16, 32), "first-half"),
        (Transformer(kind="transformer", patch=2, width=32, depth=1, heads=4), "second-half"),
    ],
)
def test_both_architectures_learn_digits_from_five_hundred(
    thousand: Path, tmp_path: Path, network: Convolutions | Transformer, part: Part
) -> None:
    settings = classifier(part)
    training = evolve(settings.training, iterations=150, batch_size=64, learning_rate=2e-3, warmup=10)
    settings = evolve(settings, network=network, features=32, training=training)
    job = Job(
        data=thousand, shape=(1, 8, 8), device=CPU, curve=tmp_path / "curve", checkpoints=Checkpoints(tmp_path, {})
    )
    (tmp_path / "scorer").mkdir()
    write_extractor(tmp_path / "scorer", make(settings, job), settings, (1, 8, 8))
    extractor, test = load_extractor(tmp_path / "scorer", CPU), store.read(thousand, "test")
    classes = np.concatenate([scores.argmax(1).numpy() for _, scores in extractor.batches(test.images)])
    assert (classes == test.required_labels()).mean() > 0.93
    assert extractor.name.startswith(f"classifier:{network.kind}-3:")


def tokens(network: Network, images: torch.Tensor) -> torch.Tensor:
    """What a transformer's last norm makes of each patch, [B, patches, width]."""
    found: list[torch.Tensor] = []
    norms = [layer for layer in network.body if isinstance(layer, nn.LayerNorm)]
    handle = norms[-1].register_forward_hook(lambda *called: found.append(called[2]))
    network(images)
    handle.remove()
    return found[0]


@torch.no_grad()
def test_every_patch_attends_to_every_other_and_its_place_counts() -> None:
    torch.manual_seed(0)
    network = Network((3, 4, 6), SMALL, 5, 7)
    images = torch.randn(2, 3, 4, 6)
    before = tokens(network, images)
    assert before.shape == (2, 6, 6)
    changed = images.clone()
    changed[0, 1, 3, 5] += 1  # in the last patch
    moved = (tokens(network, changed) - before).abs().amax(2)
    assert (moved[0] > 1e-6).all()
    assert (moved[1] == 0).all()
    swapped = images.clone()
    swapped[..., :2], swapped[..., 2:4] = images[..., 2:4], images[..., :2]  # two columns of patches
    order = [1, 0, 2, 4, 3, 5]
    assert not torch.allclose(tokens(network, swapped), before[:, order], atol=1e-4)
    next(layer for layer in network.body if hasattr(layer, "position")).position.zero_()
    assert torch.allclose(tokens(network, swapped), tokens(network, images)[:, order], atol=1e-5)


def silu(x: torch.Tensor) -> torch.Tensor:
    return x * x.sigmoid()


def normed(x: torch.Tensor, layer: nn.Module, *dims: int) -> torch.Tensor:
    """Less their mean and over their standard deviation in these dimensions, scaled and moved in the first of them."""
    shape = (-1,) + (1,) * (len(dims) - 1)
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, correction=0)
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return (x - mean) / (variance + 1e-5).sqrt() * weight.view(shape) + bias.view(shape)


def attended(x: torch.Tensor, layer: nn.Module, heads: int) -> torch.Tensor:
    """Softmax attention of tokens [B, N, W] to each other, by heads."""
    width = x.shape[2]
    mixed = x @ layer.get_parameter("in_proj_weight").T + layer.get_parameter("in_proj_bias")
    query, key, value = (part.unflatten(2, (heads, width // heads)) for part in mixed.split(width, dim=2))
    shares = (torch.einsum("bnhw,bmhw->bhnm", query, key) / (width // heads) ** 0.5).softmax(3)
    joined = torch.einsum("bhnm,bmhw->bnhw", shares, value).flatten(2)
    return joined @ layer.get_parameter("out_proj.weight").T + layer.get_parameter("out_proj.bias")


def restless(network: Network) -> Network:
    """The same network with other numbers in every parameter, those included that torch starts at 0 or 1."""
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


@torch.no_grad()
def test_convolutions_by_hand() -> None:
    """Each is normalised over all of its channels, and passes through SiLU as the features do."""
    torch.manual_seed(0)
    network = restless(Network((3, 6, 5), convolutions(4, 8), 5, 7))
    images = torch.randn(2, 3, 6, 5)
    first, norm, _, second, later, _, _, hidden, _ = network.body
    x = silu(normed(nn.functional.conv2d(images, first.weight, first.bias, stride=1, padding=1), norm, 1, 2, 3))
    x = silu(normed(nn.functional.conv2d(x, second.weight, second.bias, stride=2, padding=1), later, 1, 2, 3))
    features = silu(x.flatten(1) @ hidden.weight.T + hidden.bias)
    found, scores = network(images)
    assert torch.allclose(found, features, atol=1e-5)
    assert torch.allclose(scores, features @ network.head.weight.T + network.head.bias, atol=1e-5)


@torch.no_grad()
def test_a_transformer_by_hand() -> None:
    """Its norms come first, its hidden layers are twice as wide as its tokens, and nothing is dropped in training."""
    torch.manual_seed(0)
    network = restless(Network((3, 4, 6), SMALL, 5, 7)).train()
    images = torch.randn(2, 3, 4, 6)
    embedding, *blocks, norm, _, hidden, _ = network.body
    patches = images.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    x = patches @ embedding.patch.weight.flatten(1).T + embedding.patch.bias + embedding.position
    for block in blocks:
        assert block.linear1.weight.shape == (12, 6)
        x = x + attended(normed(x, block.norm1, 2), block.self_attn, heads=3)
        within = normed(x, block.norm2, 2) @ block.linear1.weight.T + block.linear1.bias
        x = x + nn.functional.gelu(within) @ block.linear2.weight.T + block.linear2.bias
    features = silu(normed(x, norm, 2).flatten(1) @ hidden.weight.T + hidden.bias)
    assert torch.allclose(network(images)[0], features, atol=1e-5)


def test_marks_of_positions_start_small() -> None:
    torch.manual_seed(0)
    embedding = Network((1, 32, 32), evolve(SMALL, width=24), 5, 7).body[0]
    assert float(embedding.position.detach().std()) == pytest.approx(0.02, rel=0.03)


def test_a_transformers_layers_start_unequal() -> None:
    layers = [layer for layer in Network((1, 4, 4), SMALL, 5, 7).body if isinstance(layer, nn.TransformerEncoderLayer)]
    assert len(layers) == 2
    assert not torch.equal(layers[0].linear1.weight, layers[1].linear1.weight)


def test_a_stored_transformer_is_read_as_it_was_written(tmp_path: Path) -> None:
    settings = evolve(classifier("all"), network=SMALL, features=5)
    network = Network((3, 4, 6), SMALL, 5, 10).eval()
    write_extractor(tmp_path, network, settings, (3, 4, 6))
    scorer = load_extractor(tmp_path, CPU)
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 6)).astype(np.uint8)
    ((features, scores),) = scorer.batches(images)
    wanted, logits = network(torch.from_numpy(images / np.float32(127.5) - 1))
    assert torch.allclose(features, wanted, atol=1e-5)
    assert torch.allclose(scores, logits, atol=1e-5)
    assert (scorer.features, scorer.classes) == (5, 10)


@pytest.mark.parametrize(
    ("network", "path", "words"),
    [
        (
            "{kind: transformer, patch: 3, width: 8, depth: 1, heads: 2}",
            "patch",
            "a divisor of 8 and 8, the images' sides",
        ),
        ("{kind: transformer, patch: 2, width: 9, depth: 1, heads: 2}", "width", "a multiple of the 2 heads"),
        (f"{{kind: convolutions, channels: [{', '.join('2' * 17)}]}}", "channels", "at most 16 convolutions"),
        ("{kind: convolution, channels: [2]}", "kind", "did you mean 'convolutions'"),
    ],
)
def test_networks_that_do_not_fit_the_images_are_refused(network: str, path: str, words: str) -> None:
    text = TINY.replace(DESCRIBED, f"network: {network}")
    with pytest.raises(SpecError, match=rf"{words}.* @ \$\.evaluation\.scorers\.convolutional\.network\.{path}"):
        parse_spec(text, "tiny.yaml")


@pytest.mark.parametrize(
    ("changed", "shape", "words"),
    [
        ({"patch": 1}, (1, 16, 17), "272 patches per image: expected at most 256"),
        ({}, (1, 4, 5), "expected a divisor of 4 and 5, the images' sides"),
        ({}, (1, 5, 4), "expected a divisor of 5 and 4, the images' sides"),
    ],
)
def test_patches_tile_the_images_and_are_256_at_most(
    changed: dict[str, int], shape: tuple[int, int, int], words: str
) -> None:
    (fault,) = evolve(SMALL, **changed).check(shape, ())
    assert fault.message == words
    assert not list(evolve(SMALL, patch=1).check((1, 16, 16), ()))


TRANSFORMER = "{kind: transformer, patch: 2, width: 8, depth: 1, heads: 2}"


def with_second(**changed: str) -> str:
    """tiny.yaml, with a second classifier that differs from the first by what is changed alone."""
    start, end = TINY.index("    convolutional:\n"), TINY.index("    pixels: {kind: pixels}\n")
    first = TINY[start:end]
    second = first.replace("convolutional:", "second:")
    for old, new in changed.items():
        second = re.sub(rf"{old}: .*", f"{old}: {new}", second)
    return TINY[:start] + first + second + TINY[end:]


def test_two_classifiers_of_a_panel_share_neither_images_nor_architecture() -> None:
    scorers = parse_spec(with_second(trained_on="second-half", network=TRANSFORMER), "tiny.yaml").evaluation.scorers
    assert list(scorers) == ["convolutional", "second", "pixels"]
    assert isinstance(scorers["second"], Classifier)
    assert isinstance(scorers["second"].network, Transformer)
    same = r"second and convolutional learn from the same images.* @ \$\.evaluation\.scorers\.second\.trained_on"
    for part in ("first-half", "all"):
        with pytest.raises(SpecError, match=same):
            parse_spec(with_second(trained_on=part, network=TRANSFORMER), "tiny.yaml")
    with pytest.raises(SpecError, match=r"as in convolutional: .* @ \$\.evaluation\.scorers\.second\.network"):
        parse_spec(with_second(trained_on="second-half"), "tiny.yaml")
