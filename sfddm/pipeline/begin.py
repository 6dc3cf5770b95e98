"""A new spec: its text, its file, and its place in the pipeline."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from sfddm.data.look import look_at
from sfddm.data.source import root
from sfddm.errors import SpecError, UserError
from sfddm.pipeline.params import sync
from sfddm.runtime.files import write_text
from sfddm.spec.checks import HELD_OUT
from sfddm.spec.data import Folder
from sfddm.spec.fields import PLAIN_PATH, require_name
from sfddm.spec.read import GALLERY, SPECS, parse_spec
from sfddm.spec.starter import folder_of, model_name


def new_path(name: str) -> Path:
    """The file of a spec that isn't there yet.

    Raises:
        SpecError: it is, or the name is not fit to be one.
    """
    path = SPECS / f"{require_name(name, 'the name of a spec')}.yaml"
    if path.exists():
        raise SpecError(f"{path} is there already and is not overwritten.")
    return path


def begin(name: str, text: str) -> tuple[list[Path], list[str]]:
    """Write a spec and `sync`.

    Raises:
        SpecError: there is one of that name already.
    """
    write_text(new_path(name), text)
    return sync()


def from_example(name: str, example: str) -> str:
    """The text of an active spec or of an example under another name.

    Raises:
        SpecError: there is none, or it has a fault.
    """
    known = {file.stem: file for folder in (GALLERY, SPECS) for file in sorted(folder.glob("*.yaml"))}
    if example not in known:
        close = get_close_matches(example, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        raise SpecError(f"no spec is called {example!r}{hint} There are {', '.join(sorted(known)) or 'none'}.")
    text = known[example].read_text(encoding="utf-8").replace("$schema=../", "$schema=", 1)
    if name == example:
        return text
    model = parse_spec(text, str(known[example])).registry.model
    begun = f"# Begun from {example} by `sfddm new`.\n"
    text = re.sub(r"\A(# yaml-language-server.*\n)?(#.*\n)*", rf"\g<1>{begun}", text)
    text = re.sub(r"^name:.*$", f"name: {name}", text, count=1, flags=re.MULTILINE)
    text = re.sub(rf"(\bmodel:\s*){re.escape(model)}(?![\w.-])", rf"\g<1>{model_name(name)}", text, count=1)
    if parse_spec(text, f"{name}.yaml").registry.model == model:
        raise SpecError(f"{known[example]}: the name of the registered model was not found: give {name} its own.")
    return text


def data_of(name: str, folder: Path, channels: int | None, sides: Sequence[int]) -> tuple[Folder, int]:
    """The section `data` for a folder of images, which a link leads to where data sets are, if it isn't there; and how
    many images there are.

    Args:
        name: of the spec, and of the link.
        folder: the images.
        channels: 1 or 3; None for what the images have.
        sides: their height and width, the first that none of them is smaller than.

    Raises:
        UserError: there is no such folder, its images are too small or too few, or something else has the link's name.
    """
    seen = look_at(folder)
    size = next((side for side in sides if side <= seen.side), None)
    if size is None:
        raise UserError(
            f"{folder / seen.smallest} has {seen.side} pixels on a side, and at least {min(sides)} are needed: take "
            "out all images that are smaller."
        )
    if seen.images <= HELD_OUT:
        raise UserError(
            f"{folder} has {seen.images} images: distances are measured to at least {HELD_OUT}, which nothing is "
            "trained with, so it needs more, better thousands."
        )
    path = linked(folder, root(), name)
    return folder_of(path, channels or seen.channels, size, seen.labelled, seen.images), seen.images


def linked(path: Path, folder: Path, name: str) -> str:
    """What a spec calls a path that has to be in `folder`; a link there leads to one that is elsewhere.

    Raises:
        UserError: something else has the link's name.
    """
    if path.absolute().is_relative_to(folder.absolute()):
        below = path.absolute().relative_to(folder.absolute()).as_posix()
        if PLAIN_PATH.fault(below) is None:
            return below
    link = folder / name
    if link.is_symlink() or link.exists():
        if link.resolve() != path.resolve():
            raise UserError(f"{link} is there already and is not {path}: take it away, or choose another name.")
        return name
    folder.mkdir(parents=True, exist_ok=True)
    link.symlink_to(path.resolve())
    print(f"{link}: a link to {path.resolve()}")
    return name
