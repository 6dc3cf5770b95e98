"""The files of a model that others distribute: in the Hugging Face hub's cache, on the hub, or in a folder."""

import re
from pathlib import Path

from sfddm.data.source import ROOT, root
from sfddm.errors import UserError
from sfddm.networks.layout import CONFIG, WEIGHTS

FOLDER = "teachers"
"""The folder of models and checkpoints, inside that of data sets."""
PICKLE = "diffusion_pytorch_model.bin"
"""The weights as diffusers wrote them before safetensors."""
SCHEDULER = "scheduler_config.json"
DESCRIBED = [CONFIG, SCHEDULER, f"unet/{CONFIG}", f"scheduler/{SCHEDULER}"]
"""Old models have all their files in one folder, newer ones one folder for each part."""
COMMIT = re.compile("[0-9a-f]{40}")


def given_path(name: str) -> Path:
    """The path of a folder or a file that a spec names without a path.

    Raises:
        UserError: there is nothing.
    """
    path = root() / FOLDER / name
    if not path.exists():
        raise UserError(f"{path} is missing: put {name} there (a link will do), or set {ROOT} to a folder that has "
                        f"{FOLDER}/{name}.")  # fmt: skip
    return path


def fetch(model: str, revision: str) -> Path:
    """The folder of a hub's model: from the cache where it is whole, else downloaded into it.

    A pickle of weights is fetched only where there are no safetensors, and at a commit, which pins what is in it.

    Raises:
        UserError: there is no such model or revision, or no network and nothing in the cache.
    """
    folder = _snapshot(model, revision, [*DESCRIBED, WEIGHTS, f"unet/{WEIGHTS}"])
    if weights_of(folder, WEIGHTS) is None and COMMIT.fullmatch(revision):
        folder = _snapshot(model, revision, [*DESCRIBED, PICKLE, f"unet/{PICKLE}"])
    return folder


def weights_of(folder: Path, name: str) -> Path | None:
    """The weights of that name in either layout."""
    return next((path for path in (folder / "unet" / name, folder / name) if path.exists()), None)


def _snapshot(model: str, revision: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if COMMIT.fullmatch(revision):
        try:  # a commit stays what it is: nobody has to be asked about what the cache has
            found = Path(snapshot_download(model, revision=revision, allow_patterns=files, local_files_only=True))
            if any(weights_of(found, Path(name).name) for name in files[len(DESCRIBED) :]):
                return found
        except LocalEntryNotFoundError:
            pass
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=files))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _not_there(model, revision, error) from None


def _not_there(model: str, revision: str, error: Exception) -> UserError:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    command = f"hf download {model} --revision {revision}"
    if isinstance(error, RevisionNotFoundError):
        return UserError(f"the hub's {model} has no revision {revision!r}: `sfddm teacher inspect {model}` shows one.")
    if isinstance(error, RepositoryNotFoundError):
        reason = "the hub has no such model, or it is private (then `hf auth login` first)"
    else:
        reason = f"the hub can't be reached ({str(error).splitlines()[0][:200]})"
    return UserError(
        f"{model} at {revision} is not in the cache {HF_HUB_CACHE}, and {reason}.\n"
        f"Where there is a network, `{command}` fills the cache; HF_HUB_CACHE names another one, such as a copy of it."
    )
