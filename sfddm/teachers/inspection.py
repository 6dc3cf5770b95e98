"""What a teacher that others trained is, and a spec that takes it over."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from attrs import frozen

from sfddm.diffusion.levels import ScheduleName
from sfddm.errors import UserError
from sfddm.runtime.files import digest_file
from sfddm.spec.data import Folder
from sfddm.spec.starter import TO_COME, folder_of, starter
from sfddm.spec.teacher import FromCheckpoint, FromDiffusers, FromTensors, Teacher
from sfddm.teachers.hub import COMMIT, fetch, given_path

if TYPE_CHECKING:
    from sfddm.teachers.candidate import Found

ENDINGS = (".pt", ".pth", ".safetensors")
"""The endings of checkpoints."""
ANY_LEVELS = 1000
"""Levels that a spec begins with where the network is told the noise itself."""
ANY_SIZE = (64, 32, 16, 8)
"""Heights and widths that a checkpoint's images may have, which doesn't say."""
LARGE = 5_000_000
"""Parameters of a network that wants a GPU."""


@frozen(kw_only=True)
class Seen:
    """A teacher, and how a spec names it."""

    found: "Found"
    source: FromDiffusers | FromCheckpoint | FromTensors
    path: Path | None
    """Where it is on this machine; None for the hub's."""

    @property
    def called(self) -> str:
        """What a spec calls it."""
        return self.source.model if isinstance(self.source, FromDiffusers) else self.source.file

    @property
    def teacher(self) -> Teacher:
        """The section of a spec.

        Raises:
            UserError: no spec can take it over.
        """
        found, (_, height, width) = self.found, self.found.shape
        if found.noise_schedule is None:
            raise UserError(
                f"A spec can't take it over: its noise schedule, {found.schedule_words}, is neither one of those that "
                f"a spec names ({', '.join(get_args(ScheduleName))}, with the betas of their papers) nor one of linear "
                "or scaled-linear betas."
            )
        if height != width:
            raise UserError("A spec can't take it over: its images are not square.")
        teacher = Teacher(
            timesteps=found.timesteps,
            noise_schedule=found.noise_schedule,
            prediction=found.prediction,
            source=self.source,
            classes=found.classes,
        )
        if faults := list(teacher.check(())):
            raise UserError(f"A spec can't take it over: {faults[0].message}.")
        return teacher

    @property
    def sides(self) -> tuple[int, ...]:
        """Heights and widths that its images may have."""
        return ANY_SIZE if isinstance(self.source, FromCheckpoint) else (self.found.shape[1],)

    @property
    def channels(self) -> int:
        """Channels of its images."""
        return self.found.shape[0]

    def starter(self, name: str, data: Folder | None = None, images: int = TO_COME) -> str:
        """A spec for it, on so many images that are there or to come.

        Raises:
            UserError: no spec can take it over.
        """
        labelled = bool(self.found.classes)
        data = data or folder_of(name, self.channels, self.sides[0], labelled, images)
        return starter(name, data, images, self.teacher, large=self.found.parameters > LARGE)


def inspect(name: str, revision: str) -> str:
    """Describe a teacher, and give a spec for it."""
    seen = look(name, revision)
    try:
        spec = seen.starter("mine")
    except UserError as error:
        return f"{_described(seen)}\n\n{error}"
    return "\n\n".join([_described(seen), f"The spec that `sfddm new mine --teacher {name}` writes:", spec])


def look(name: str, revision: str) -> Seen:
    """A teacher: a folder, a checkpoint, OWNER/NAME of the hub, or the name of one in the folder of teachers.

    Raises:
        UserError: it is not there, or no teacher of ours.
    """
    path = Path(name).expanduser()
    if not path.exists() and name.startswith((".", "/", "~")):
        raise UserError(f"{name}: there is no such folder or file.")
    if not path.exists() and "/" not in name:
        path = given_path(name)
    if not path.exists() and name.count("/") != 1:
        raise UserError(f"{name}: expected a folder, a checkpoint ({', '.join(ENDINGS)}) or OWNER/NAME of the hub.")
    if path.suffix == ".pkl":
        raise UserError(
            f"{path} is a pickle of a whole network, as NVlabs publishes EDM's: to open it runs the code in it, so "
            f"nothing of it was read. `sfddm teacher convert {path} {path.with_suffix('.safetensors')}` takes the "
            "weights of one of EDM's networks out of it and runs nothing."
        )
    if path.is_file() and path.suffix not in ENDINGS:
        raise UserError(f"{path}: expected a checkpoint that ends in {' or '.join(ENDINGS)}.")

    from sfddm.teachers import folder

    if path.is_dir():
        found = folder.read(path, name, None, published=False)
        source = FromDiffusers(kind="diffusers", model=path.resolve().name, revision=found.pinned)
        return Seen(found=found, source=source, path=path)
    if path.is_file():
        return _of_tensors(path) if path.suffix == ".safetensors" else _of_checkpoint(path)
    fetched = fetch(name, revision)
    commit = fetched.name if COMMIT.fullmatch(fetched.name) else revision
    found = folder.read(fetched, f"{name} at {commit}", commit, published=bool(COMMIT.fullmatch(revision)))
    return Seen(found=found, source=FromDiffusers(kind="diffusers", model=name, revision=commit), path=None)


def _of_tensors(path: Path) -> Seen:
    from sfddm.teachers import tensors

    about = tensors.read_about(path)
    source = FromTensors(kind="safetensors", file=path.name, sha256=digest_file(path), network=about.network)
    teacher = Teacher(
        timesteps=ANY_LEVELS, noise_schedule="edm", prediction="edm", source=source, classes=about.classes
    )
    return Seen(found=tensors.read(path, source, teacher, about.shape), source=source, path=path)


def _of_checkpoint(path: Path) -> Seen:
    from sfddm.teachers import lucidrains as checkpoint

    sha256, size = digest_file(path), (ANY_SIZE[0], ANY_SIZE[0])
    weights: Literal["ema", "last"] = "ema"
    try:
        found = checkpoint.read(path, sha256, weights, size)
    except UserError:
        weights = "last"
        found = checkpoint.read(path, sha256, weights, size)
    source = FromCheckpoint(kind="checkpoint", file=path.name, sha256=sha256, weights=weights)
    return Seen(found=found, source=source, path=path)


def _described(seen: Seen) -> str:
    found, (channels, height, width) = seen.found, seen.found.shape
    size = f"{height}x{width} pixels" if len(seen.sides) == 1 else "any size that its network can halve"
    schedule = found.noise_schedule or f"none of ours: {found.schedule_words}"
    lines = [
        found.origin,
        f"  noise schedule  {schedule}",
        f"  T               {found.timesteps}",
        f"  prediction      {found.prediction}",
        f"  images          {channels} channels, {size}, in [-1, 1]",
        f"  classes         {found.classes or 'none'}",
        f"  parameters      {found.parameters:,}",
        f"  dropout         {f'{found.dropout:g} when it was trained, 0 in the copy' if found.dropout else 'none'}",
        f"  content         {found.pinned}",
    ]
    return "\n".join(lines)
