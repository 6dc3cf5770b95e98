"""Whether the packages that are installed are those that requirements.lock pins."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from sfddm.errors import UserError
from sfddm.registry.verdict import Item

DECIDING = (
    "denoising-diffusion-pytorch",
    "diffusers",
    "numpy",
    "pillow",
    "scikit-learn",
    "scipy",
    "torch",
    "torch-fidelity",
    "torchmetrics",
    "torchvision",
)
"""Packages whose versions can change what is trained, drawn or measured."""


def packages_item(lock: Path) -> Item:
    """Which installed packages have another version than a lock file pins, those first that decide numbers.

    A difference is not a fault: what comes out is compared. Packages that are not installed are not named, because
    extras are optional and what a stage needs it imports.

    Raises:
        UserError: the file is damaged.
    """
    if not lock.exists():
        return Item(name="packages", verdict=f"the commit has no {lock}", passed=True)
    other = {name: found for name, pinned in _pinned(lock).items() if (found := _other(pinned))}
    if not other:
        return Item(name="packages", verdict=f"as in {lock}", passed=True)
    deciding = [other[name] for name in sorted(other) if name in DECIDING]
    rest = [other[name] for name in sorted(other) if name not in DECIDING]
    groups = {"may change numbers": deciding, "change no numbers": rest}
    words = "; ".join(f"{', '.join(names)} ({what})" for what, names in groups.items() if names)
    return Item(name="packages", verdict=f"other than in {lock}: {words}", passed=True)


def _pinned(lock: Path) -> dict[str, Requirement]:
    """The requirements that count for this Python and this system, by name."""
    lines = (line.rstrip("\\ ") for line in lock.read_text(encoding="utf-8").splitlines())
    try:
        found = [Requirement(line) for line in lines if line and not line.startswith((" ", "#", "-"))]
    except InvalidRequirement as error:
        raise UserError(f"{lock} is damaged ({str(error).splitlines()[0]}): `git checkout {lock}`.") from None
    return {canonicalize_name(one.name): one for one in found if one.marker is None or one.marker.evaluate()}


def _other(pinned: Requirement) -> str:
    """What is installed in place of a pinned package; empty where it is that one, or none."""
    try:
        installed = version(pinned.name)
    except PackageNotFoundError:
        return ""
    fits = pinned.specifier.contains(installed)
    return "" if fits else f"{pinned.name} {installed} in place of {str(pinned.specifier).removeprefix('==')}"
