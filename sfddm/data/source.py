"""Where published data sets are on this machine, and how they get there."""

import os
import sys
from http.client import HTTPException
from pathlib import Path

from sfddm.errors import UserError
from sfddm.runtime.files import atomic_file
from sfddm.runtime.locks import locked
from sfddm.runtime.machine import scratch

ROOT = "SFDDM_DATA_ROOT"


def root() -> Path:
    """The folder of data sets in torchvision's layout: what `SFDDM_DATA_ROOT` names, or `datasets` in scratch."""
    named = os.environ.get(ROOT)
    return Path(named) if named else scratch() / "datasets"


def download(url: str, path: Path, md5: str, remedy: str) -> None:
    """Fetch a file whose content has the MD5 digest `md5`.

    Raises:
        UserError: there is no network, or the content is another; ends with `remedy`, what to do without a download.
    """
    with locked(scratch() / "locks" / f"{path.name}.lock"):
        if not path.is_file():  # two specs may ask for the same file at once
            _fetch(url, path, md5, remedy)


def _fetch(url: str, path: Path, md5: str, remedy: str) -> None:
    from torchvision.datasets.utils import download_url  # type: ignore[import-untyped]

    with atomic_file(path) as partial:
        print(f"downloading {url} to {path}", file=sys.stderr, flush=True)
        try:
            download_url(url, partial.parent, partial.name, md5)
        except (OSError, RuntimeError, HTTPException) as error:
            raise UserError(f"{path} is missing, and {url} can't be downloaded ({error}).\n{remedy}") from None
