"""What MLflow costs: `python -m bench.tracking track [RUNS]` and `python -m bench.tracking follow`, once tiny has run:
`cp tests/tiny.yaml specs/ && sfddm spec sync && dvc repro track@tiny`.

track: how long `sfddm track` takes to fill an empty MLflow with copies of a run of tiny, and to register all of them.
follow: what a followed training pays itself, and the CPU time of its follower, which runs at niceness 10.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sfddm.pipeline.paths import Paths
from sfddm.tracking.live import Training, start_follower

STUDENT = "ours-t4"
POINTS = 100
SECONDS = (10, 120)
"""How long two made-up trainings take; what the second follower takes more is what following takes by the second."""
STARTS = 5


def track(runs: int = 100) -> None:
    """Print how long it takes to bring so many runs into an empty MLflow, to register them, and to find all there."""
    with _clone() as folder:
        _copy_runs(folder, runs)
        spec = folder / "specs/tiny.yaml"
        text = spec.read_text()
        spec.write_text(text.replace(f"students: [{STUDENT}]", "students: []"))
        first = _timed("sfddm", "track")
        spec.write_text(text)
        registered, again = _timed("sfddm", "track"), _timed("sfddm", "track")
    print(
        f"{runs} runs: {first:.1f} s into an empty MLflow, {registered:.1f} s to make all of them versions, "
        f"{again:.1f} s where all is there"
    )


def follow() -> None:
    """Print what following costs."""
    with _clone():
        _train(0)  # makes the database
        starts, cpu = [], []
        for seconds in SECONDS:
            began = time.perf_counter()
            before = _cpu()
            starts.append(_train(seconds))
            cpu.append(_cpu() - before)
            assert time.perf_counter() - began > seconds
        starts += [_train(0) for _ in range(STARTS - len(SECONDS))]
    per_second = max(cpu[1] - cpu[0], 0.0) / (SECONDS[1] - SECONDS[0])
    fixed = max(cpu[0] - per_second * SECONDS[0], 0.0)
    print(
        f"a training waits {median(starts) * 1e3:.0f} ms for its follower to start (median of {STARTS}), and no more.\n"
        f"The follower takes {fixed:.1f} s of CPU time and {per_second:.1%} of a core, at niceness 10."
    )
    for whole in (120, 600, 3600):
        share = (fixed + per_second * whole) / whole
        print(f"That is {share:.1%} of one core over a training of {whole} s.")


def _train(seconds: int) -> float:
    """A curve that grows for so long, followed to its end; returns what starting the follower took."""
    curve = Path("scratch/curve.jsonl")
    curve.parent.mkdir(exist_ok=True)
    began = time.perf_counter()
    tags = {"sfddm.run": "bench"}
    start_follower(Training(experiment="bench", name="bench", key=str(began), tags=tags), curve, POINTS)
    started = time.perf_counter() - began
    with curve.open("w") as file:
        for step in range(1, POINTS + 1):
            time.sleep(seconds / POINTS)
            file.write(json.dumps({"step": step, "loss": 1 / step, "learning_rate": 1e-3}) + "\n")
            file.flush()
    os.wait()  # the follower is this process's child
    return started


def _cpu() -> float:
    """Seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _clone() -> Iterator[Path]:
    """A folder with this code and tiny's results, which becomes the working directory."""
    root = Path.cwd()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("sfddm", "stages", "runs/tiny"):
            shutil.copytree(root / name, folder / name)
        for name in ("specs/tiny.yaml", "dvc.yaml", "params.yaml", "dvc.lock", "requirements.lock"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(root / name, folder / name)
        os.chdir(folder)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        try:
            yield folder
        finally:
            os.chdir(root)


def _copy_runs(folder: Path, runs: int) -> None:
    """Give the student so many seeds, each with the results of the first."""
    paths, spec = Paths("tiny"), folder / "specs/tiny.yaml"
    head, tail = spec.read_text().rsplit("    seeds: [0]", 1)
    spec.write_text(f"{head}    seeds: {list(range(runs))}{tail}")
    lock = (folder / "dvc.lock").read_text()
    blocks = [
        block
        for block in re.split(r"^(?=  \S)", lock, flags=re.MULTILINE)
        if block.startswith((f"  distill@tiny-{STUDENT}-s0:", f"  evaluate@tiny-{STUDENT}-s0:"))
    ]
    for seed in range(1, runs):
        for path in (paths.student, paths.result, lambda *run: paths.timing(*run).parent):
            shutil.copytree(path(STUDENT, 0), path(STUDENT, seed))
        lock += "".join(block.replace(f"{STUDENT}-s0", f"{STUDENT}-s{seed}") for block in blocks)
    (folder / "dvc.lock").write_text(lock)


def _timed(*command: str) -> float:
    program = str(Path(sys.executable).with_name(command[0]))
    began = time.perf_counter()
    done = subprocess.run([program, *command[1:]], check=True, capture_output=True, text=True)
    print(done.stdout.splitlines()[-1], file=sys.stderr)
    return time.perf_counter() - began


if __name__ == "__main__":
    what, *counts = sys.argv[1:] or ["track"]
    {"track": track, "follow": follow}[what](*map(int, counts))
