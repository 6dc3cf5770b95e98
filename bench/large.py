"""How much memory the stages need for larger images: `python -m bench.large [SIZE [TRAJECTORIES [SAMPLES]]]`.

SIZE x SIZE pictures of noise in a folder, a network too small to learn anything, a student of eight steps from
TRAJECTORIES of its teacher, and SAMPLES images to judge it by; each stage is the pipeline's own, in a process of its
own, without the one that shows curves in MLflow while they grow (SFDDM_LIVE_CURVES). Anonymous memory, which can't be
dropped like pages of files, is the figure to compare with a limit; to try a real one, run this under
`systemd-run --scope -p MemoryMax=1G` or in a container.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sfddm.pipeline.params import sync
from sfddm.spec.data import Folder
from sfddm.spec.override import override
from sfddm.spec.starter import starter

NAME, PICTURES, PLACES = "large", 300, 16
"""The spec's name, the number of pictures, and the height and width of a picture in patches."""
STAGES = (
    ("data",),
    ("teacher",),
    ("scorer", "pixels"),
    ("reference",),
    ("distill", "ours-t4", "0"),
    ("evaluate", "ours-t4", "0"),
)
ROOT = Path(__file__).parents[1]


def main(size: int = 64, trajectories: int = 3000, samples: int = 2000) -> None:
    """Run the stages in turn and print what each took."""
    if size % PLACES:
        sys.exit(f"{size}: expected a multiple of {PLACES}")
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        _pictures(Path("sets/pictures"), size)
        Path("specs").mkdir()
        Path(f"specs/{NAME}.yaml").write_text(_spec(size, trajectories, samples), encoding="utf-8")
        sync()
        print(f"{size}x{size}, {trajectories} trajectories, {samples} samples; MiB: largest resident, anonymous")
        for stage in STAGES:
            seconds, resident, own = _run(stage)
            print(f"{' '.join(stage):20} {seconds:6.1f} s {resident:8.0f} {own:8.0f}", flush=True)
        files = [path for path in Path("scratch").rglob("*.npy") if path.is_file()]
        print(f"trajectories on disk: {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB")


def _pictures(folder: Path, size: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        Image.fromarray(random.integers(256, size=(size, size, 3), dtype=np.uint8)).save(folder / f"{number}.png")


def _spec(size: int, trajectories: int, samples: int) -> str:
    data = Folder(kind="folder", path="pictures", channels=3, crop="center", size=size, flip=False, labels="none",
                  held_out=100, split_seed=0, corrupt="refuse")  # fmt: skip
    network = {
        "kind": "patched-unet2d", "patch": size // PLACES, "channels": [16, 32], "attention": [False, False],
        "middle_attention": False, "head_channels": 8, "layers_per_block": 1, "norm_groups": 8,
    }  # fmt: skip
    short = {"iterations": 20, "warmup": 5}
    changes = {
        "teacher.source.network": network,
        **{f"teacher.source.training.{key}": value for key, value in short.items()},
        **{f"students.ours-t4.method.training.{key}": value for key, value in short.items()},
        "students.ours-t4.index_set.steps": 8,
        "students.ours-t4.method.sources.0.cache.noises": trajectories,
        "evaluation.samples": samples,
        "evaluation.reference.index_set.steps": 8,
    }
    return override(starter(NAME, data, PICTURES, None, large=False), changes, NAME)


def _run(stage: Sequence[str]) -> tuple[float, float, float]:
    """Seconds, the largest resident size of a stage's process, and its largest anonymous memory, in MiB."""
    command = [sys.executable, "-m", f"stages.{stage[0]}", NAME, *stage[1:]]
    own = {"PYTHONPATH": str(ROOT), "SFDDM_DATA_ROOT": str(Path("sets").absolute()), "SFDDM_LIVE_CURVES": "off"}
    started, sizes = time.perf_counter(), {"VmHWM": 0, "RssAnon": 0}
    with (
        Path("said").open("w", encoding="utf-8") as said,
        subprocess.Popen(command, env={**os.environ, **own}, stderr=said) as process,
    ):
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            text = status.read_text()
            for name in sizes:
                found = re.search(rf"{name}:\s+(\d+) kB", text)
                sizes[name] = max(sizes[name], int(found[1]) if found else 0)
            time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{' '.join(stage)} ended with {process.returncode}:\n{Path('said').read_text(encoding='utf-8')}")
    return time.perf_counter() - started, sizes["VmHWM"] / 1024, sizes["RssAnon"] / 1024


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
