"""What a rebuilt version has in common with the registered one, item by item."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from sfddm.evaluation.metrics import JACKKNIFE as BLOCKS
from sfddm.evaluation.statistics import difference
from sfddm.pipeline.lock import Lineage, outputs

TOLERANCE = 0.05
"""Allowed relative difference between kinds of machines: of weights by their norm, of metrics even where common noises
tell them apart. Sums in another order differ in their last bits, and training amplifies that with every iteration."""


@frozen(kw_only=True)
class Item:
    """One thing that was compared."""

    name: str
    verdict: str
    passed: bool


def machine_item(noted: Mapping[str, Any], found: Mapping[str, Any]) -> Item:
    """Whether the two are of one kind, so that bits have to agree. A difference is not a fault."""
    other = [f"{key} {noted.get(key)} | {found[key]}" for key in found if noted.get(key) != found[key]]
    kind = "same kind" if not other else "another kind: " + ", ".join(other)
    return Item(name="machine", verdict=kind, passed=True)


def lock_file_item(noted: str, found: str) -> Item:
    """Whether the commit asks for the packages that were there. A difference is not a fault: installed ones count."""
    return Item(name="requirements.lock", verdict="equal" if noted == found else "another", passed=True)


def output_items(registered: Lineage, rebuilt: Lineage, names: Mapping[str, str]) -> list[Item]:
    """Whether outputs have the same hashes; `names` gives each path that is compared and what to call it."""
    before, after = outputs(registered), outputs(rebuilt)
    return [
        Item(name=name, verdict="bit-identical", passed=True)
        if before[path] == after[path]
        else Item(name=name, verdict=f"differs: {after[path]}, was {before[path]}", passed=False)
        for path, name in names.items()
    ]


def weights_item(name: str, registered: Path, rebuilt: Path, same_machine: bool) -> Item:
    """Two files of weights: equal bytes on the same kind of machine, else within the tolerance."""
    if registered.read_bytes() == rebuilt.read_bytes():
        return Item(name=name, verdict="bit-identical", passed=True)
    apart = relative_difference(registered, rebuilt)
    if same_machine:
        return Item(name=name, verdict=f"differ by {apart:.2%} on the same kind of machine", passed=False)
    verdict = f"differ by {apart:.2%}, tolerance {TOLERANCE:.0%}"
    return Item(name=name, verdict=verdict, passed=apart <= TOLERANCE)


def relative_difference(registered: Path, rebuilt: Path) -> float:
    """Norm of the difference of all weights over the norm of the registered ones; infinite where shapes differ."""
    from sfddm.networks.weights import read_tensors

    a, b = read_tensors(registered), read_tensors(rebuilt)
    if {name: tensor.shape for name, tensor in a.items()} != {name: tensor.shape for name, tensor in b.items()}:
        return float("inf")
    squares = sum(float((a[name].double() - b[name].double()).square().sum()) for name in a)
    return float((squares / sum(float(tensor.double().square().sum()) for tensor in a.values())) ** 0.5)


def metrics_item(registered: Mapping[str, Any], rebuilt: Mapping[str, Any], same_machine: bool) -> Item:
    """Metrics: equal to the last digit on the same kind of machine, else no further apart than noise explains."""
    changed = sorted(key for key in {*registered, *rebuilt} if registered.get(key) != rebuilt.get(key))
    if not changed:
        return Item(name="metrics", verdict="equal to the last digit", passed=True)
    if same_machine:
        return Item(name="metrics", verdict=f"differ on the same kind of machine: {', '.join(changed)}", passed=False)
    beyond = [key for key in BLOCKS if _too_far(registered, rebuilt, key)]
    apart = f"{', '.join(beyond)}: beyond noise and {TOLERANCE:.0%}" if beyond else f"within noise or {TOLERANCE:.0%}"
    return Item(name="metrics", verdict=apart, passed=not beyond)


def _too_far(registered: Mapping[str, Any], rebuilt: Mapping[str, Any], key: str) -> bool:
    found = difference(registered, rebuilt, key)
    return found is not None and found.different and abs(found.estimate) > TOLERANCE * abs(registered[key])
