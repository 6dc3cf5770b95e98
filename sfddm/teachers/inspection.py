"""`sfddm teacher inspect`: what a teacher that others trained is, and the section of a spec that takes it over."""

from pathlib import Path

from sfddm.data.source import ROOT, root
from sfddm.errors import UserError
from sfddm.networks.denoiser import LUCIDRAINS
from sfddm.runtime.files import digest_file
from sfddm.teachers import folder
from sfddm.teachers import lucidrains as checkpoint
from sfddm.teachers.candidate import Found
from sfddm.teachers.hub import COMMIT, FOLDER, fetch, given_path

ENDINGS = (".pt", ".pth")
"""The endings of checkpoints."""
ANY_SIZE = 64
"""Height and width taken for a checkpoint's images, whose size it doesn't say."""


def inspect(name: str, revision: str) -> str:
    """Describe a teacher: a folder, a checkpoint, OWNER/NAME of the hub, or the name of one in the folder of teachers.

    Raises:
        UserError: it is not there, or no teacher of ours.
    """
    path = Path(name)
    if not path.exists() and "/" not in name:
        path = given_path(name)
    if path.is_dir():
        found = folder.read(path, name, None, published=False)
        source = f"  source:\n    kind: diffusers\n    model: {path.resolve().name}\n    revision: {found.pinned}"
        return _text(found, source, _place(path))
    if path.is_file():
        return _of_checkpoint(path)
    if name.count("/") != 1:
        raise UserError(f"{name}: expected a folder, a checkpoint ({' or '.join(ENDINGS)}) or OWNER/NAME of the hub.")
    fetched = fetch(name, revision)
    commit = fetched.name if COMMIT.fullmatch(fetched.name) else revision
    found = folder.read(fetched, f"{name} at {commit}", commit, published=bool(COMMIT.fullmatch(revision)))
    return _text(found, f"  source: {{kind: diffusers, model: {name}, revision: {commit}}}", "")


def _of_checkpoint(path: Path) -> str:
    if path.suffix not in ENDINGS:
        raise UserError(f"{path}: expected a checkpoint that ends in {' or '.join(ENDINGS)}.")
    sha256 = digest_file(path)
    try:
        found, weights = checkpoint.read(path, sha256, "ema", (ANY_SIZE, ANY_SIZE)), "ema"
    except UserError:
        found, weights = checkpoint.read(path, sha256, "last", (ANY_SIZE, ANY_SIZE)), "last"
    source = f"  source:\n    kind: checkpoint\n    file: {path.name}\n    sha256: {sha256}\n    weights: {weights}"
    return _text(found, source, _place(path))


def _text(found: Found, source: str, place: str) -> str:
    channels, height, width = found.shape
    fixed = found.network.config.get("library") != LUCIDRAINS
    size = f"{height}x{width} pixels" if fixed else "any size that its network can halve"
    schedule = found.noise_schedule or f"none of ours: {found.schedule_words}"
    lines = [
        found.origin,
        f"  noise schedule  {schedule}",
        f"  T               {found.timesteps}",
        f"  prediction      {found.prediction}",
        f"  images          {channels} channels, {size}, in [-1, 1]",
        f"  parameters      {found.parameters:,}",
        f"  dropout         {f'{found.dropout:g} when it was trained, 0 in the copy' if found.dropout else 'none'}",
        f"  content         {found.pinned}",
    ]
    if found.noise_schedule is None:
        return "\n".join(
            [*lines, "", "A spec can't take it over: its noise schedule is not one of linear, cosine, sigmoid."]
        )
    section = [
        "teacher:",
        f"  timesteps: {found.timesteps}",
        f"  noise_schedule: {found.noise_schedule}",
        f"  prediction: {found.prediction}",
        source,
    ]
    return "\n".join([*lines, "", "The section of a spec:", "", *section, *([place] if place else [])])


def _place(path: Path) -> str:
    if path.absolute().parent == (root() / FOLDER).absolute():
        return ""
    return f"\nPut {path.name}, or a link to it, into the folder `{FOLDER}` of the folder of data sets ({ROOT})."
