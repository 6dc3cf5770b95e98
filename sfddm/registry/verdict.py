"""What a rebuilt version has in common with the registered one, item by item.

On the same kind of machine everything has to be equal. On another one sums are added in another order, and training
amplifies that: then weights and measured numbers have a tolerance, and everything else still has to be equal.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from sfddm.evaluation.statistics import measured, standard_error
from sfddm.pipeline.lock import Lineage, outputs

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class Item:
    """One thing that was compared."""

    name: str
    verdict: str
    passed: bool


@frozen(kw_only=True)
class Tolerance:
    """How far apart what two machines made may be."""

    machines: str
    """What differs between them, for verdicts."""
    weights: float
    """Norm of the difference of all weights over the norm of what training changed them by: 1 is as far as the weights
    that the training started from."""
    numbers: float
    """Difference of a measured number over the registered one."""


ANOTHER_KIND = Tolerance(machines="another kind of machine", weights=0.2, numbers=0.05)
SAME_GPU = Tolerance(machines="a GPU, which repeats no last digits", weights=0.2, numbers=0.05)
ANOTHER_DEVICE = Tolerance(machines="a CPU on one side and a GPU on the other", weights=0.4, numbers=0.1)


def tolerance(noted: Mapping[str, Any], found: Mapping[str, Any]) -> Tolerance | None:
    """What two machines, as `sfddm.runtime.machine.machine` describes them, allow; None where bits have to agree."""
    if noted["device"] != found["device"]:
        return ANOTHER_DEVICE
    if noted != found:
        return ANOTHER_KIND
    return SAME_GPU if found["device"] != "cpu" and not found.get("deterministic") else None


def widest(tolerances: Sequence[Tolerance | None]) -> Tolerance | None:
    """The tolerance of what several machines made together."""
    return max(filter(None, tolerances), key=lambda one: one.weights, default=None)


def machine_item(name: str, noted: Mapping[str, Any], found: Mapping[str, Any]) -> Item:
    """Whether the two are of one kind, so that bits have to agree. A difference is not a fault."""
    other = [
        f"{key} {noted.get(key)} | {found.get(key)}"
        for key in dict.fromkeys([*found, *noted])
        if noted.get(key) != found.get(key)
    ]
    kind = "same kind" if not other else "another kind: " + ", ".join(other)
    return Item(name=name, verdict=kind, passed=True)


def output_items(registered: Lineage, rebuilt: Lineage, names: Mapping[str, str]) -> list[Item]:
    """Whether outputs have the same hashes; `names` gives each path that is compared and what to call it."""
    before, after = outputs(registered), outputs(rebuilt)
    return [
        Item(name=name, verdict="bit-identical", passed=True)
        if before[path] == after[path]
        else Item(name=name, verdict=f"differs: {after[path]}, was {before[path]}", passed=False)
        for path, name in names.items()
    ]


def weights_item(
    registered: Path, rebuilt: Path, start: "Mapping[str, Tensor] | None", allowed: Tolerance | None
) -> Item:
    """Two files of weights: equal bytes, or within a tolerance that is measured by what training changed.

    `start` are the weights that the training started from. Bytes must agree where it is None, because nothing was
    trained, or `allowed` is.
    """
    if registered.read_bytes() == rebuilt.read_bytes():
        return Item(name="weights", verdict="bit-identical", passed=True)
    if allowed is None or start is None:
        why = "differs on the same kind of machine" if allowed is None else "differs, though nothing was trained"
        return Item(name="weights", verdict=why, passed=False)
    apart = share_of_training(registered, rebuilt, start)
    verdict = f"differ by {apart:.2%} of what training changed, {allowed.weights:.0%} allowed ({allowed.machines})"
    return Item(name="weights", verdict=verdict, passed=apart <= allowed.weights)


def share_of_training(registered: Path, rebuilt: Path, start: "Mapping[str, Tensor]") -> float:
    """Norm of the difference of all weights over the norm of what training changed; infinite where shapes differ."""
    from sfddm.networks.weights import read_tensors

    one, other = read_tensors(registered), read_tensors(rebuilt)
    if not _shapes(one) == _shapes(other) == _shapes(start):
        return float("inf")
    moved = _distance(one, start)
    return _distance(one, other) / moved if moved else float("inf")


def _shapes(weights: "Mapping[str, Tensor]") -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def _distance(one: "Mapping[str, Tensor]", other: "Mapping[str, Tensor]") -> float:
    return sqrt(sum(float((tensor.double() - other[name].double()).square().sum()) for name, tensor in one.items()))


@frozen(kw_only=True)
class Change:
    """One value of two documents that is not the same in both."""

    path: str
    """Keys from the outside in, joined by dots."""
    registered: Any
    rebuilt: Any
    noise: float | None
    """Standard error of the registered number; None where the values are not measured numbers."""

    def within(self, share: float) -> bool:
        """Whether a share of the registered number explains it, or for one that may be zero, its own standard error."""
        if self.noise is None:
            return False
        may_be_zero = abs(self.registered) <= 2 * self.noise
        allowed = max(share * abs(self.registered), self.noise if may_be_zero else 0.0)
        return bool(abs(self.rebuilt - self.registered) <= allowed)

    def __str__(self) -> str:
        return f"{self.path} {_short(self.registered)} | {_short(self.rebuilt)}"


ABSENT = "missing"
"""Takes the place of a value that one of the documents lacks."""
DIGEST = re.compile(r"(?<![^:])[0-9a-f]{8,64}$")
"""A hash of bytes, alone or after a name: another machine makes other bytes."""


def metrics_item(registered: Mapping[str, Any], rebuilt: Mapping[str, Any], allowed: Tolerance | None) -> Item:
    """Two metrics.json: equal to the last digit, or measured numbers within a tolerance and everything else equal."""
    changed = list(changes(registered, rebuilt))
    if not changed:
        return Item(name="metrics", verdict="equal to the last digit", passed=True)
    if allowed is None:
        paths = ", ".join(dict.fromkeys(change.path for change in changed))
        return Item(name="metrics", verdict=f"differ on the same kind of machine: {paths}", passed=False)
    beyond = [change for change in changed if not _is_allowed(change, allowed)]
    within = f"{allowed.numbers:.0%} ({allowed.machines})"
    if not beyond:
        return Item(name="metrics", verdict=f"numbers within {within}, all else equal", passed=True)
    named = {change.path: str(change) for change in reversed(beyond)}
    apart = ", ".join(reversed(named.values()))
    return Item(name="metrics", verdict=f"{apart}: equal, or for numbers within {within}, was expected", passed=False)


def _is_allowed(change: Change, allowed: Tolerance) -> bool:
    one, other = change.registered, change.rebuilt
    if isinstance(one, str) and isinstance(other, str):
        return DIGEST.sub("#", one) == DIGEST.sub("#", other)
    return change.within(allowed.numbers)


def changes(registered: Any, rebuilt: Any, path: str = "", noise: float = 0.0) -> Iterator[Change]:
    """Every value that differs between two documents of plain data, however deep."""
    match registered, rebuilt:
        case dict(), dict():
            for key in sorted({*registered, *rebuilt}):
                inner, error = f"{path}.{key}" if path else key, _error(registered, key)
                yield from changes(registered.get(key, ABSENT), rebuilt.get(key, ABSENT), inner, error)
        case list(), list() if len(registered) == len(rebuilt):
            for one, other in zip(registered, rebuilt, strict=True):
                yield from changes(one, other, path, _range(registered))
        case _ if registered != rebuilt or type(registered) is not type(rebuilt):
            measured = isinstance(registered, float) and isinstance(rebuilt, float)
            yield Change(path=path, registered=registered, rebuilt=rebuilt, noise=noise if measured else None)


def _error(metrics: Mapping[str, Any], key: str) -> float:
    """The standard error of one measured number; 0 where it has none.

    The registered version's alone, so that scattered values of a rebuilt one excuse nothing.
    """
    found = measured(metrics, key)
    return standard_error(found) if found else 0.0


def _range(values: Sequence[Any]) -> float:
    """How far apart the values of a list are: what the noise of a block does to a number."""
    numbers: list[float] = [value for value in values if isinstance(value, float)]
    return max(numbers) - min(numbers) if numbers else 0.0


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else f"{value}"[:60]
