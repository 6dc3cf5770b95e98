"""What a rebuilt version is said to have in common with the registered one, item by item."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sfddm.networks.weights import write_tensors
from sfddm.pipeline.lock import Lineage
from sfddm.pipeline.paths import Paths
from sfddm.registry.reproduce import _metrics, _others
from sfddm.registry.verdict import (
    TOLERANCE,
    Item,
    lock_file_item,
    machine_item,
    metrics_item,
    output_items,
    relative_difference,
    weights_item,
)
from sfddm.registry.version import Version
from sfddm.runtime.files import write_json
from sfddm.spec.experiment import Run
from tests.experiment import OWN, SHARED

MACHINE = {"device": "cpu", "threads": 2, "processes": 1}
WEIGHTS = {"first": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "second": torch.tensor([0.0, 4.0])}
"""Of norm 5."""
NOISE = (-0.02, -0.01, 0.0, 0.01, 0.02)
BLOCKS = {
    "frechet_distance": "frechet_blocks",
    "kernel_distance": "kernel_blocks",
    "agreement": "agreement_blocks",
    "mse_to_teacher": "mse_blocks",
    "ssim": "ssim_blocks",
    "feature_cosine": "cosine_blocks",
}
METRICS = {
    **SHARED, **OWN, "frechet_distance": 0.5, "nfe": 4, "levels": [16, 32, 48, 64],
    **{blocks: [({**OWN, "frechet_distance": 0.5}[key]) * (1 + moved) for moved in NOISE]
       for key, blocks in BLOCKS.items()},
}  # fmt: skip
"""Of a registered version; blocks vary by up to 2 %."""


def changed(key: str, factor: float) -> dict[str, Any]:
    """The same figures, but one, with its blocks, `factor` times as large."""
    blocks = [factor * value for value in METRICS[BLOCKS[key]]]
    return {**METRICS, key: factor * METRICS[key], BLOCKS[key]: blocks}


def test_machines_of_one_kind_agree_in_everything() -> None:
    assert machine_item(MACHINE, dict(MACHINE)) == Item(name="machine", verdict="same kind", passed=True)


def test_machines_of_another_kind_are_described_and_no_fault() -> None:
    found = machine_item({"device": "cpu", "threads": 2}, {**MACHINE, "threads": 8})
    assert found.verdict == "another kind: threads 2 | 8, processes None | 1" and found.passed


@pytest.mark.parametrize(("found", "verdict"), [("abc", "equal"), ("abd", "another")])
def test_another_lock_file_is_no_fault(found: str, verdict: str) -> None:
    assert lock_file_item("abc", found) == Item(name="requirements.lock", verdict=verdict, passed=True)


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


def weighed(folder: Path, other: dict[str, Tensor], same_machine: bool) -> Item:
    """The verdict on weights beside the registered ones."""
    return weights_item(
        "weights", stored(folder / "registered", WEIGHTS), stored(folder / "rebuilt", other), same_machine
    )


def moved(by: float) -> dict[str, Tensor]:
    """The registered weights, moved by so much, 3/5 of it in one and 4/5 in the other."""
    return {
        "first": WEIGHTS["first"] + torch.tensor([[0.0, 0.6 * by], [0.0, 0.0]]),
        "second": WEIGHTS["second"] - torch.tensor([0.8 * by, 0.0]),
    }


@pytest.mark.parametrize("same_machine", [True, False])
def test_equal_weights_are_bit_identical_on_any_machine(tmp_path: Path, same_machine: bool) -> None:
    assert weighed(tmp_path, WEIGHTS, same_machine) == Item(name="weights", verdict="bit-identical", passed=True)


def test_any_difference_of_weights_is_a_fault_on_the_same_kind_of_machine(tmp_path: Path) -> None:
    found = weighed(tmp_path, moved(0.0005), same_machine=True)
    assert found == Item(name="weights", verdict="differ by 0.01% on the same kind of machine", passed=False)


@pytest.mark.parametrize(("by", "share", "passed"), [(0.2475, "4.95%", True), (0.2525, "5.05%", False)])
def test_weights_of_another_machine_may_differ_by_a_twentieth_of_their_norm(
    tmp_path: Path, by: float, share: str, passed: bool
) -> None:
    found = weighed(tmp_path, moved(by), same_machine=False)
    assert found == Item(name="weights", verdict=f"differ by {share}, tolerance 5%", passed=passed)


@pytest.mark.parametrize("same_machine", [True, False])
def test_weights_of_another_network_are_a_fault_on_any_machine(tmp_path: Path, same_machine: bool) -> None:
    for position, other in enumerate(
        ({"first": WEIGHTS["first"]}, {**WEIGHTS, "third": torch.ones(1)}, {**WEIGHTS, "second": torch.ones(1, 2)})
    ):
        folder = tmp_path / str(position)
        folder.mkdir()
        found = weighed(folder, other, same_machine)
        assert not found.passed and "inf%" in found.verdict


def test_the_difference_of_weights_is_relative_to_the_registered_ones(tmp_path: Path) -> None:
    twice = {name: 2 * tensor for name, tensor in WEIGHTS.items()}
    one, other = stored(tmp_path / "one", WEIGHTS), stored(tmp_path / "other", twice)
    assert relative_difference(one, other) == pytest.approx(1.0)
    assert relative_difference(other, one) == pytest.approx(0.5)
    assert relative_difference(one, stored(tmp_path / "moved", moved(0.25))) == pytest.approx(0.05)


@pytest.mark.parametrize("same_machine", [True, False])
def test_equal_figures_pass_on_any_machine(same_machine: bool) -> None:
    found = metrics_item(METRICS, dict(METRICS), same_machine)
    assert found == Item(name="metrics", verdict="equal to the last digit", passed=True)


@pytest.mark.parametrize(
    ("rebuilt", "keys"),
    [
        ({**METRICS, "frechet_distance": 0.5 + 1e-15}, "frechet_distance"),
        ({**METRICS, "psnr": None, "levels": [16, 32, 48, 63]}, "levels, psnr"),
        ({key: value for key, value in METRICS.items() if key != "recall"}, "recall"),
        ({**METRICS, "new": 1}, "new"),
        ({**METRICS, "ssim_blocks": [0.0] * 5}, "ssim_blocks"),
    ],
)
def test_any_difference_of_figures_is_a_fault_on_the_same_kind_of_machine(rebuilt: dict[str, Any], keys: str) -> None:
    found = metrics_item(METRICS, rebuilt, same_machine=True)
    assert found == Item(name="metrics", verdict=f"differ on the same kind of machine: {keys}", passed=False)


@pytest.mark.parametrize("key", BLOCKS)
@pytest.mark.parametrize(("factor", "passed"), [(1.045, True), (0.955, True), (1.055, False), (0.945, False)])
def test_a_figure_of_another_machine_may_differ_by_a_twentieth(key: str, factor: float, passed: bool) -> None:
    """Though common noises tell the two apart."""
    found = metrics_item(METRICS, changed(key, factor), same_machine=False)
    assert found.passed == passed
    assert found.verdict == (f"within noise or {TOLERANCE:.0%}" if passed else f"{key}: beyond noise and 5%")


def test_a_figure_of_another_machine_may_differ_by_what_noise_explains() -> None:
    scattered = [0.4, 0.6, 0.45, 0.75, 0.6]  # on average .06 above the registered ones, 12 %
    rebuilt = {**METRICS, "frechet_distance": 0.56, "frechet_blocks": scattered}
    assert metrics_item(METRICS, rebuilt, same_machine=False).passed


def test_what_is_named_by_its_bytes_is_another_on_another_machine() -> None:
    rebuilt = {**METRICS, "weights": "0" * 16, "reference": "0" * 16, "real": "0" * 16}
    assert metrics_item(METRICS, rebuilt, same_machine=False).passed
    assert not metrics_item(METRICS, rebuilt, same_machine=True).passed


def test_every_figure_that_is_too_far_is_named() -> None:
    rebuilt = {**changed("ssim", 0.5), "agreement": 0.1, "agreement_blocks": [0.1] * 5}
    found = metrics_item(METRICS, rebuilt, same_machine=False)
    assert found.verdict == "agreement, ssim: beyond noise and 5%" and not found.passed


LET_THROUGH = pytest.mark.xfail(
    strict=True, reason="on another machine only figures with blocks are looked at: all else is let through"
)


@LET_THROUGH
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pixel_distance", 99.0),
        ("precision", 0.0),
        ("recall", 0.0),
        ("path_length", 300.0),
        ("frechet_distance_at_floor", 1e6),
        ("psnr", 3.0),
    ],
)
def test_a_figure_without_blocks_is_compared_on_another_machine(key: str, value: float) -> None:
    assert not metrics_item({**METRICS, "frechet_distance_at_floor": 0.5}, {**METRICS, key: value}, False).passed


@LET_THROUGH
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("levels", [1, 2, 3, 4]),
        ("nfe", 8),
        ("scorer", "inception-1:0123abcd"),
        ("scorer_version", 3),
        ("noise_seed", 4),
        ("samples", 10),
    ],
)
def test_figures_that_rest_on_other_things_are_not_reproduced_on_another_machine(key: str, value: object) -> None:
    assert not metrics_item(METRICS, {**METRICS, key: value}, same_machine=False).passed


@LET_THROUGH
@pytest.mark.parametrize("without", ["registered", "rebuilt", "both"])
def test_a_distance_without_blocks_is_compared_on_another_machine(without: str) -> None:
    bare = {key: value for key, value in METRICS.items() if key != "frechet_blocks"}
    registered = METRICS if without == "rebuilt" else bare
    rebuilt = {**(METRICS if without == "registered" else bare), "frechet_distance": 1e6}
    assert not metrics_item(registered, rebuilt, same_machine=False).passed


@LET_THROUGH
def test_a_distance_of_all_images_is_compared_on_another_machine_whatever_its_blocks() -> None:
    assert not metrics_item(METRICS, {**METRICS, "frechet_distance": 1e6}, same_machine=False).passed


@LET_THROUGH
@pytest.mark.parametrize("key", ["recall", "levels", "frechet_distance"])
def test_a_figure_that_is_missing_is_not_reproduced_on_another_machine(key: str) -> None:
    rebuilt = {name: value for name, value in METRICS.items() if name != key}
    assert not metrics_item(METRICS, rebuilt, same_machine=False).passed


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
        (None, MACHINE, True, False),
    ],
)
def test_figures_are_equal_where_the_weights_were_made_and_judged_on_one_kind_of_machine(
    tmp_path: Path, noted: dict[str, Any] | None, found: dict[str, Any], weights_of_one_kind: bool, strict: bool
) -> None:
    run = Run(name="tiny-ours-s0", spec="tiny", student="ours", seed=0, method="sfddm")
    folder = tmp_path / Paths("tiny").result("ours", 0)
    write_json(folder / "metrics.json", {**METRICS, "ssim": METRICS["ssim"] * 1.001})
    write_json(folder / "timing.json", {"machine": found})
    registered = version(**({"evaluation": noted} if noted else {}), student={"device": "another"})
    (item,) = _metrics(registered, run, tmp_path, weights_of_one_kind)
    assert item.passed == (not strict) and ("same kind of machine" in item.verdict) == strict


@pytest.mark.parametrize(("same", "verdict"), [(True, "differs: 9, was 2"), (False, "other bytes")])
def test_what_a_student_is_made_with_has_other_bytes_on_another_kind_of_machine(same: bool, verdict: str) -> None:
    paths = Paths("tiny")
    before = lineage(**{"runs/tiny/scorer": "1", "runs/tiny/teacher": "2", "runs/tiny/reference": "3"})
    after = lineage(**{"runs/tiny/scorer": "1", "runs/tiny/teacher": "9", "runs/tiny/reference": "3"})
    assert list(_others(before, after, paths, same)) == [
        Item(name="scorer", verdict="bit-identical", passed=True),
        Item(name="teacher", verdict=verdict, passed=not same),
        Item(name="reference", verdict="bit-identical", passed=True),
    ]
