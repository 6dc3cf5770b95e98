"""What a rebuilt version is said to have in common with the registered one, item by item."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sfddm.evaluation.metrics import JACKKNIFE
from sfddm.networks.weights import write_tensors
from sfddm.pipeline.lock import Lineage
from sfddm.pipeline.paths import Paths
from sfddm.registry.reproduce import _metrics, _others
from sfddm.registry.verdict import (
    ANOTHER_DEVICE,
    ANOTHER_KIND,
    SAME_GPU,
    Item,
    Tolerance,
    machine_item,
    metrics_item,
    output_items,
    share_of_training,
    tolerance,
    weights_item,
    widest,
)
from sfddm.registry.version import Version
from sfddm.runtime.files import write_json
from sfddm.spec.experiment import Run
from tests.experiment import BLOCKS, JUDGED, OWN, SHARED
from tests.parts import tiny

MACHINE = {"device": "cpu", "threads": 2, "processes": 1}
WEIGHTS = {"first": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "second": torch.tensor([0.0, 4.0])}
"""Their norm is 5."""
ERROR = 0.007
"""The standard error of every figure that has one, as a share of it."""
METRICS = {
    **SHARED, **OWN, **JUDGED, "frechet_distance": 0.5, "teacher_frechet_distance": 0.25, "nfe": 4,
    "levels": [16, 32, 48, 64],
}  # fmt: skip
METRICS |= {
    jackknife: {"images": [METRICS[key] * (1 + ERROR * moved) for moved in BLOCKS]}
    for key, jackknife in JACKKNIFE.items()
}
"""What a scorer says of a registered version, and the rest beside it."""


def changed(key: str, factor: float) -> dict[str, Any]:
    """The same figures, but one, with its jackknife, `factor` times as large."""
    values = [factor * value for value in METRICS[JACKKNIFE[key]]["images"]]
    return {**METRICS, key: factor * METRICS[key], JACKKNIFE[key]: {"images": values}}


def test_machines_of_one_kind_agree_in_everything() -> None:
    assert machine_item("machine", MACHINE, dict(MACHINE)) == Item(name="machine", verdict="same kind", passed=True)


def test_machines_of_another_kind_are_described_and_no_fault() -> None:
    found = machine_item("machine", {"device": "cpu", "threads": 2, "tf32": True}, {**MACHINE, "threads": 8})
    assert found.verdict == "another kind: threads 2 | 8, processes None | 1, tf32 True | None" and found.passed


GPU = {**MACHINE, "device": "cuda"}


@pytest.mark.parametrize(
    ("noted", "found", "allowed"),
    [
        (MACHINE, MACHINE, None),
        (MACHINE, {**MACHINE, "threads": 8}, ANOTHER_KIND),
        ({**MACHINE, "more": 1}, MACHINE, ANOTHER_KIND),
        (GPU, GPU, SAME_GPU),
        ({**GPU, "deterministic": True}, {**GPU, "deterministic": True}, None),
        (GPU, {**GPU, "processes": 2}, ANOTHER_KIND),
        (GPU, MACHINE, ANOTHER_DEVICE),
        (MACHINE, GPU, ANOTHER_DEVICE),
    ],
)
def test_bits_have_to_agree_on_the_same_kind_of_cpu_alone(
    noted: dict[str, Any], found: dict[str, Any], allowed: Tolerance | None
) -> None:
    assert tolerance(noted, found) == allowed


def test_a_cpu_in_place_of_a_gpu_is_allowed_more_than_any_other_machine_but_never_an_untrained_student() -> None:
    for other in (ANOTHER_KIND, SAME_GPU):
        assert other.weights < ANOTHER_DEVICE.weights < 0.5 and other.numbers < ANOTHER_DEVICE.numbers < 0.5


def test_what_several_machines_made_has_the_widest_tolerance_of_them() -> None:
    assert widest([None, None]) is None
    assert widest([None, ANOTHER_KIND]) == ANOTHER_KIND
    assert widest([ANOTHER_DEVICE, ANOTHER_KIND, None]) == ANOTHER_DEVICE


def lineage(**hashes: str) -> Lineage:
    """What dvc.lock says of stages with an output each."""
    return {f"{name}@tiny": {"outs": [{"path": name, "md5": hash_}]} for name, hash_ in hashes.items()}


def test_outputs_are_compared_by_their_hashes_and_those_alone_that_are_named() -> None:
    registered, rebuilt = lineage(data="1", teacher="2", other="3"), lineage(data="1", teacher="5", other="4")
    assert output_items(registered, rebuilt, {"data": "the data", "teacher": "the teacher"}) == [
        Item(name="the data", verdict="bit-identical", passed=True),
        Item(name="the teacher", verdict="differs: 5, was 2", passed=False),
    ]


def stored(path: Path, weights: dict[str, Tensor]) -> Path:
    write_tensors(path, weights)
    return path


START = {"first": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "second": torch.tensor([2.0, 4.0])}
"""What training started from: 2 from the registered weights."""


def weighed(
    folder: Path, other: dict[str, Tensor], allowed: Tolerance | None, start: dict[str, Tensor] | None = START
) -> Item:
    """The verdict on weights beside the registered ones."""
    registered, rebuilt = stored(folder / "registered", WEIGHTS), stored(folder / "rebuilt", other)
    return weights_item(registered, rebuilt, start, allowed)


def moved(by: float) -> dict[str, Tensor]:
    """The registered weights, moved by so much, 3/5 of it in one and 4/5 in the other."""
    return {
        "first": WEIGHTS["first"] + torch.tensor([[0.0, 0.6 * by], [0.0, 0.0]]),
        "second": WEIGHTS["second"] - torch.tensor([0.8 * by, 0.0]),
    }


MACHINES = pytest.mark.parametrize("allowed", [None, ANOTHER_KIND, ANOTHER_DEVICE])


@MACHINES
def test_equal_weights_are_bit_identical_on_any_machine(tmp_path: Path, allowed: Tolerance | None) -> None:
    assert weighed(tmp_path, WEIGHTS, allowed) == Item(name="weights", verdict="bit-identical", passed=True)


def test_any_difference_of_weights_is_a_fault_on_the_same_kind_of_machine(tmp_path: Path) -> None:
    found = weighed(tmp_path, moved(1e-6), None)
    assert found == Item(name="weights", verdict="differs on the same kind of machine", passed=False)


@pytest.mark.parametrize("allowed", [ANOTHER_KIND, ANOTHER_DEVICE])
@pytest.mark.parametrize(("of_tolerance", "passed"), [(0.99, True), (1.01, False)])
def test_weights_of_another_machine_may_differ_by_a_share_of_what_training_changed(
    tmp_path: Path, allowed: Tolerance, of_tolerance: float, passed: bool
) -> None:
    share = of_tolerance * allowed.weights
    found = weighed(tmp_path, moved(2 * share), allowed)
    words = f"differ by {share:.2%} of what training changed, {allowed.weights:.0%} allowed ({allowed.machines})"
    assert found == Item(name="weights", verdict=words, passed=passed)


@pytest.mark.parametrize("allowed", [ANOTHER_KIND, ANOTHER_DEVICE])
@pytest.mark.parametrize("trained", [0.0, 0.5])
def test_weights_that_were_not_trained_or_half_are_a_fault_on_another_machine(
    tmp_path: Path, allowed: Tolerance, trained: float
) -> None:
    """However small a part of the weights' norm training changes."""
    half = {name: START[name] + trained * (WEIGHTS[name] - START[name]) for name in START}
    assert not weighed(tmp_path, half, allowed).passed


@MACHINES
def test_weights_that_nothing_trained_are_equal_on_any_machine(tmp_path: Path, allowed: Tolerance | None) -> None:
    assert not weighed(tmp_path, moved(1e-6), allowed, start=None).passed
    assert not weighed(tmp_path, moved(1e-6), allowed, start=WEIGHTS).passed


@MACHINES
def test_weights_of_another_network_are_a_fault_on_any_machine(tmp_path: Path, allowed: Tolerance | None) -> None:
    for position, other in enumerate(
        ({"first": WEIGHTS["first"]}, {**WEIGHTS, "third": torch.ones(1)}, {**WEIGHTS, "second": torch.ones(1, 2)})
    ):
        folder = tmp_path / str(position)
        folder.mkdir()
        found = weighed(folder, other, allowed)
        assert not found.passed and (allowed is None or "inf%" in found.verdict)
        assert not weighed(folder, moved(1e-6), allowed, start=other).passed


def test_the_difference_of_weights_is_relative_to_what_training_changed_in_the_registered_ones(tmp_path: Path) -> None:
    one, other = stored(tmp_path / "one", WEIGHTS), stored(tmp_path / "other", moved(0.25))
    assert share_of_training(one, other, START) == pytest.approx(0.125)
    assert share_of_training(one, stored(tmp_path / "start", START), START) == pytest.approx(1.0)
    zero = {name: torch.zeros_like(tensor) for name, tensor in WEIGHTS.items()}
    assert share_of_training(one, other, zero) == pytest.approx(0.05)


@MACHINES
def test_equal_figures_pass_on_any_machine(allowed: Tolerance | None) -> None:
    found = metrics_item(METRICS, dict(METRICS), allowed)
    assert found == Item(name="metrics", verdict="equal to the last digit", passed=True)


@pytest.mark.parametrize(
    ("rebuilt", "keys"),
    [
        ({**METRICS, "frechet_distance": 0.5 + 1e-15}, "frechet_distance"),
        ({**METRICS, "psnr": None, "levels": [16, 32, 48, 63]}, "levels, psnr"),
        ({key: value for key, value in METRICS.items() if key != "recall"}, "recall"),
        ({**METRICS, "new": 1}, "new"),
        ({**METRICS, "ssim_jackknife": {"images": [0.0] * 5}}, "ssim_jackknife.images"),
    ],
)
def test_any_difference_of_figures_is_a_fault_on_the_same_kind_of_machine(rebuilt: dict[str, Any], keys: str) -> None:
    found = metrics_item(METRICS, rebuilt, None)
    assert found == Item(name="metrics", verdict=f"differ on the same kind of machine: {keys}", passed=False)


@pytest.mark.parametrize("allowed", [ANOTHER_KIND, ANOTHER_DEVICE])
@pytest.mark.parametrize("key", JACKKNIFE)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("of_tolerance", "passed"), [(0.99, True), (1.01, False)])
def test_a_figure_of_another_machine_may_differ_by_a_share(
    allowed: Tolerance, key: str, sign: int, of_tolerance: float, passed: bool
) -> None:
    found = metrics_item(METRICS, changed(key, 1 + sign * of_tolerance * allowed.numbers), allowed)
    within = f"{allowed.numbers:.0%} ({allowed.machines})"
    assert found.passed == passed
    if passed:
        assert found.verdict == f"numbers within {within}, all else equal"
    else:
        assert f"{key} {METRICS[key]:.6g} | " in found.verdict and within in found.verdict


def noisy(value: float) -> dict[str, Any]:
    """A distance with a standard error of .0707."""
    jackknife = {"images": [0.5 + 0.0707107 * moved for moved in BLOCKS]}
    return {"frechet_distance": value, "frechet_distance_jackknife": jackknife}


@pytest.mark.parametrize(
    ("registered", "rebuilt", "passed"),
    [
        (0.001, 0.0717, True),
        (0.001, 0.0718, False),
        (0.001, -0.0697, True),
        (0.001, -0.0698, False),
        (0.14, 0.21, True),
        (0.143, 0.21, False),
        (-0.14, -0.21, True),
        (-0.143, -0.21, False),
    ],
)
def test_a_figure_within_two_standard_errors_of_zero_may_differ_by_one_on_another_machine(
    registered: float, rebuilt: float, passed: bool
) -> None:
    assert metrics_item(noisy(registered), noisy(rebuilt), ANOTHER_KIND).passed == passed
    assert not metrics_item({"kid": registered}, {"kid": rebuilt}, ANOTHER_KIND).passed


def test_what_each_scorer_says_is_compared_too() -> None:
    registered = {"mse_to_teacher": 0.01, "scorers": {"wide": METRICS, "narrow": METRICS}}
    rebuilt = {"mse_to_teacher": 0.01, "scorers": {"wide": METRICS, "narrow": changed("frechet_distance", 2.0)}}
    found = metrics_item(registered, rebuilt, ANOTHER_DEVICE)
    assert not found.passed and "scorers.narrow.frechet_distance 0.5 | 1" in found.verdict


def test_scatter_of_the_rebuilt_figures_excuses_nothing() -> None:
    known = {"frechet_distance": 0.1, "frechet_distance_jackknife": {"images": [0.09, 0.1, 0.1, 0.1, 0.11]}}
    rebuilt = {"frechet_distance": 0.2, "frechet_distance_jackknife": {"images": [-1.0, -0.5, 0.2, 0.5, 1.0]}}
    found = metrics_item(known, rebuilt, ANOTHER_KIND)
    assert not found.passed and "frechet_distance 0.1 | 0.2" in found.verdict


def test_what_is_named_by_its_bytes_is_another_on_another_machine() -> None:
    rebuilt = {
        **METRICS,
        **dict.fromkeys(("weights", "reference", "real"), "0" * 16),
        "scorer": "classifier-2:89abcdef",
    }
    assert metrics_item(METRICS, rebuilt, ANOTHER_KIND).passed
    assert not metrics_item(METRICS, rebuilt, None).passed


def test_every_figure_that_is_too_far_is_named_with_both_values() -> None:
    rebuilt = {**METRICS, "ssim": 0.5, "agreement": 0.1, "levels": [1]}
    found = metrics_item(METRICS, rebuilt, ANOTHER_KIND)
    assert found.verdict.startswith("agreement 0.9 | 0.1, levels [16, 32, 48, 64] | [1], ssim 0.875 | 0.5: ")
    assert not found.passed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_distance", 99.0),
        ("precision", 0.0),
        ("recall", 0.0),
        ("path_length", 300.0),
        ("frechet_distance_at_floor", 1e6),
        ("psnr", 3.0),
        ("psnr", None),
    ],
)
@pytest.mark.parametrize("allowed", [ANOTHER_KIND, ANOTHER_DEVICE])
def test_a_figure_without_an_error_is_compared_on_another_machine(key: str, value: object, allowed: Tolerance) -> None:
    assert not metrics_item({**METRICS, "frechet_distance_at_floor": 0.5}, {**METRICS, key: value}, allowed).passed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("levels", [1, 2, 3, 4]),
        ("levels", [16, 32, 48, 65]),
        ("nfe", 8),
        ("scorer", "inception-1:0123abcd"),
        ("scorer_version", 3),
        ("noise_seed", 4),
        ("samples", 10),
        ("samples", 5001),
        ("notes", ["few images"]),
        ("new", 1),
    ],
)
def test_figures_that_rest_on_other_things_are_not_reproduced_on_another_machine(key: str, value: object) -> None:
    assert not metrics_item(METRICS, {**METRICS, key: value}, ANOTHER_DEVICE).passed


@pytest.mark.parametrize("without", ["registered", "rebuilt", "both"])
def test_a_distance_without_an_error_is_compared_on_another_machine(without: str) -> None:
    bare = {key: value for key, value in METRICS.items() if key != "frechet_distance_jackknife"}
    registered = METRICS if without == "rebuilt" else bare
    rebuilt = {**(METRICS if without == "registered" else bare), "frechet_distance": 1e6}
    assert "frechet_distance 0.5 | 1e+06" in metrics_item(registered, rebuilt, ANOTHER_DEVICE).verdict


def test_a_distance_of_all_images_is_compared_on_another_machine_whatever_its_jackknife() -> None:
    assert not metrics_item(METRICS, {**METRICS, "frechet_distance": 1e6}, ANOTHER_DEVICE).passed


@pytest.mark.parametrize("key", ["recall", "levels", "frechet_distance", "ssim_jackknife"])
def test_a_figure_that_is_missing_is_not_reproduced_on_another_machine(key: str) -> None:
    rebuilt = {name: value for name, value in METRICS.items() if name != key}
    found = metrics_item(METRICS, rebuilt, ANOTHER_DEVICE)
    assert not found.passed and f"{key} " in found.verdict and " | missing" in found.verdict
    assert f"{key} missing | " in metrics_item(rebuilt, METRICS, ANOTHER_DEVICE).verdict


def judged(distance: float, **other: Any) -> dict[str, Any]:
    """Metrics with two judges, one of them with this distance."""
    wide = {"frechet_distance": 0.5, "features": 512, "without": {"images": [0.5, 0.51, 0.49]}}
    return {"nfe": 4, "judges": {"narrow": {**wide, "frechet_distance": distance, **other}, "wide": wide}}


@pytest.mark.parametrize(
    ("rebuilt", "path"),
    [
        (judged(0.6), "judges.narrow.frechet_distance 0.5 | 0.6"),
        (judged(0.5, features=513), "judges.narrow.features 512 | 513"),
        (judged(0.5, without={"images": [0.5, 0.51, 0.9]}), "judges.narrow.without.images"),
        (judged(0.5, without={}), "judges.narrow.without.images"),
        ({**judged(0.5), "judges": {}}, "judges.narrow "),
    ],
)
def test_figures_are_compared_however_deep_they_are(rebuilt: dict[str, Any], path: str) -> None:
    found = metrics_item(judged(0.5), rebuilt, ANOTHER_KIND)
    assert not found.passed and path in found.verdict
    assert not metrics_item(judged(0.5), rebuilt, None).passed
    assert metrics_item(judged(0.5), judged(0.51), ANOTHER_KIND).passed


def version(**machines: dict[str, Any]) -> Version:
    """A registered version whose stages ran on these machines."""
    spec = {"name": "tiny", "students": {"ours": {"seeds": [0]}}}
    return Version(
        uri="models:/sfddm-tiny/1", student=Path("student"), spec=spec, lineage={}, metrics=METRICS,
        origin={"machines": machines}, content_key="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("noted", "found", "weights_of_one_kind", "strict"),
    [
        (MACHINE, MACHINE, True, True),
        (MACHINE, MACHINE, False, False),
        (MACHINE, {**MACHINE, "threads": 8}, True, False),
    ],
)
def test_figures_are_equal_where_the_weights_were_made_and_judged_on_one_kind_of_machine(
    tmp_path: Path, noted: dict[str, Any], found: dict[str, Any], weights_of_one_kind: bool, strict: bool
) -> None:
    run = Run(name="tiny-ours-s0", spec="tiny", student="ours", seed=0, method="sfddm")
    folder = tmp_path / Paths("tiny").result("ours", 0)
    write_json(folder / "metrics.json", {**METRICS, "ssim": METRICS["ssim"] * 1.001})
    write_json(folder / "timing.json", {"machine": found})
    registered = version(evaluation=noted, student={"device": "another"})
    machine, item = _metrics(registered, run, tmp_path, None if weights_of_one_kind else ANOTHER_KIND)
    assert machine.name == "machine of the evaluation" and ("same kind" in machine.verdict) == (noted == found)
    assert item.passed == (not strict) and ("same kind of machine" in item.verdict) == strict


@pytest.mark.parametrize(
    ("allowed", "verdict"),
    [(None, "differs: 9, was 2"), (ANOTHER_KIND, "other bytes, judged by weights and metrics")],
)
def test_what_a_student_is_made_with_has_other_bytes_on_another_kind_of_machine(
    allowed: Tolerance | None, verdict: str
) -> None:
    unchanged = {"runs/tiny/scorers/convolutional": "1", "runs/tiny/scorers/pixels": "4", "runs/tiny/reference": "3"}
    before, after = (lineage(**unchanged, **{"runs/tiny/teacher": teacher}) for teacher in ("2", "9"))
    assert list(_others(before, after, tiny(), allowed)) == [
        Item(name="scorer convolutional", verdict="bit-identical", passed=True),
        Item(name="scorer pixels", verdict="bit-identical", passed=True),
        Item(name="teacher", verdict=verdict, passed=allowed is not None),
        Item(name="reference", verdict="bit-identical", passed=True),
    ]
