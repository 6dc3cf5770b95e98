"""The course of a training: a file of points for whoever follows it, and a status line."""

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TextIO

from sfddm.errors import damaged
from sfddm.runtime.files import could_not_write, parse_json
from sfddm.runtime.processes import is_main
from sfddm.runtime.progress import Status

POINTS = 100
"""Points that a training writes at most, evenly spaced."""


class Curve:
    """Writes a training's points to a file, one JSON object per line, each line flushed when it is complete.

    Trackers read that file while it grows; the training waits for nobody. Of several processes one writes it.
    """

    def __init__(self, path: Path, label: str, iterations: int, batch_size: int) -> None:
        """Start a new curve in `path`; `label` is what the status line calls the training."""
        self._path, self.text = path, ""
        self._file: TextIO = io.StringIO()
        if is_main():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        self._iterations = iterations
        self._interval = -(-iterations // POINTS)
        self._status = Status(label, iterations, "img", batch_size)

    def __enter__(self) -> Self:
        self._status.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.__exit__()
        with suppress(OSError):  # every point was flushed: there is nothing left that could fail
            self._file.close()

    def restore(self, points: str, step: int) -> None:
        """Go on after iteration `step` of a training whose points until then are `points`, one per line."""
        self._file.seek(0)
        self._file.truncate()
        self.text = ""
        self._append(points)
        self._status.go_on(step)

    def due(self, step: int) -> bool:
        """Whether iteration `step` is to be written."""
        return (step + 1) % self._interval == 0 or step + 1 == self._iterations

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add a point, and say how the training goes."""
        self._append(json.dumps({"step": step + 1, **values}) + "\n")
        self._status.update(step + 1, f"loss {values['loss']:.4g}, ")

    def _append(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise could_not_write(self._path, error) from error
        self.text += text


def read_points(path: Path) -> list[dict[str, Any]]:
    """The complete points of a curve; a line that is still being written is left for later.

    Raises:
        UserError: a line is not a point.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    try:
        return [parse_json(line.encode()) for line in lines]
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None
