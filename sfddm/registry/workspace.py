"""A commit's worktree, in which DVC finds or makes what a version depends on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sfddm.errors import UserError
from sfddm.pipeline.lock import LOCK, Lineage, md5, outputs
from sfddm.runtime.machine import DETERMINISTIC, VARIABLES, device
from sfddm.runtime.processes import NUMBER, SLURM, available

CLEARED = ("MLFLOW_TRACKING_URI", "SFDDM_SCRATCH", "DVC_ROOT", "DVC_STAGE", SLURM)
"""Variables that would lead a stage out of the worktree, or to machines that don't see it."""


CAPABILITY = "ATEN_CPU_CAPABILITY"
CAPABILITIES = ("DEFAULT", "AVX2", "AVX512")
"""What torch uses of a processor, from the least; the variable asks for less than there is."""


def run(folder: Path, *command: str, quiet: bool = False, machine: Mapping[str, Any] | None = None) -> int:
    """Run `python -m COMMAND` in a worktree, as if on a machine, and return its exit code; this Python comes first."""
    cleared = (*CLEARED, *VARIABLES, CAPABILITY) if machine else CLEARED
    kept = {name: text for name, text in os.environ.items() if name not in cleared}
    asked = _environment(machine or {})
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**kept, "PATH": path, "SFDDM_LIVE_CURVES": "off", **asked},
        check=False,
        stdout=subprocess.DEVNULL if quiet else sys.stderr,
        stderr=subprocess.DEVNULL if quiet else None,
    )
    return done.returncode


def _environment(machine: Mapping[str, Any]) -> dict[str, str]:
    """What makes a stage compute as on that machine, as far as this one can."""
    if not machine:
        return {}
    on_gpu = machine["device"] != "cpu"
    if on_gpu and device().type == "cpu":
        return {"SFDDM_DEVICE": "cpu"}  # threads and processes of a machine with GPUs say nothing about this one
    asked = {name: machine[name] for name in VARIABLES if machine.get(name)}
    asked[NUMBER] = str(min(machine["processes"], available(on_gpu)))
    if machine.get("deterministic"):
        asked[DETERMINISTIC] = "1"
    if on_gpu:
        return {"SFDDM_DEVICE": "cuda", **asked}
    return {"SFDDM_DEVICE": "cpu", "OMP_NUM_THREADS": str(machine["threads"]), **asked, **_capability(machine)}


def _capability(machine: Mapping[str, Any]) -> dict[str, str]:
    """What makes torch use no more of this processor than it used of that machine's."""
    import torch

    wanted, here = machine.get("processor"), torch.backends.cpu.get_cpu_capability()
    if wanted not in CAPABILITIES or here not in CAPABILITIES:
        return {}
    lower = CAPABILITIES.index(wanted) < len(CAPABILITIES) - 1
    fits = CAPABILITIES.index(wanted) <= CAPABILITIES.index(here)
    return {CAPABILITY: wanted.lower()} if lower and fits else {}


def _share_cache(folder: Path) -> None:
    """Let a worktree find what this clone's DVC has, and its remotes with their passwords."""
    own = Path(".dvc/config.local")
    if own.exists():
        shutil.copy(own, folder / own)
    cache = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    run(folder, "dvc", "config", "--local", "cache.dir", cache, quiet=True)


def fetch(folder: Path, entries: Lineage, stages: Sequence[str]) -> None:
    """Bring the outputs of stages into a worktree, from DVC's cache or else from its remote.

    Raises:
        UserError: they are in neither; with the hash of every one that is missing.
    """
    _write_lock(folder, entries)
    _share_cache(folder)
    if run(folder, "dvc", "checkout", "--quiet", *stages, quiet=True):
        run(folder, "dvc", "pull", "--quiet", *stages, quiet=True)
    wanted = outputs({stage: entries[stage] for stage in stages})
    missing = [f"{path} ({hash_})" for path, hash_ in wanted.items() if md5(folder / path) != hash_]
    if missing:
        raise UserError(
            f"DVC has no object of {', '.join(missing)}, neither in its cache nor in a remote: `dvc push` where it was "
            "made, and name that remote here (`dvc remote add`)."
        )


def data_rebuilt(folder: Path, entries: Lineage, stage: str) -> bool:
    """Make the data from their source; if that is not available, take them from DVC. Returns whether they were made.

    Raises:
        UserError: neither was possible.
    """
    (folder / LOCK).unlink(missing_ok=True)
    if run(folder, "dvc", "repro", stage) == 0:
        return True
    fetch(folder, entries, [stage])
    _write_lock(folder, {stage: entries[stage]})
    run(folder, "dvc", "config", "--local", "--unset", "cache.dir", quiet=True)
    if run(folder, "dvc", "commit", "--force", "--quiet", stage):
        raise UserError(f"DVC could not take over the outputs of {stage}: see above.")
    return False


def _write_lock(folder: Path, entries: Mapping[str, Any]) -> None:
    with (folder / LOCK).open("w", encoding="utf-8") as file:
        YAML().dump({"schema": "2.0", "stages": dict(entries)}, file)
