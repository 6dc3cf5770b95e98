"""kill -9 at random moments of every stage, several in a row: the pipeline ends as if nothing had happened."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.processes import STAGES, iterations_kept, kill_group, stages_in, wait_for, wait_until_gone
from tests.project import LEAVES, Project

pytestmark = pytest.mark.prove

KILLS = int(os.environ.get("SFDDM_PROVE_KILLS", "100"))
SEED = int(os.environ.get("SFDDM_PROVE_SEED", "20261125"))
TRAININGS = {"scorer tiny": "tiny-scorer", "teacher tiny": "tiny-teacher", "distill tiny ours-t4 0": "tiny-ours-t4-s0"}
"""Stages that train, and the name of their checkpoints."""
IN_A_ROW = max(1, KILLS // len(STAGES))
"""Kills of one stage before it may end."""


class Chaos:
    """A clone whose pipeline is killed again and again."""

    def __init__(self, folder: Path, seconds: dict[str, float]) -> None:
        self.project, self.seconds = Project(folder), seconds
        self.random = random.Random(SEED)
        self.hits: Counter[str] = Counter()
        """Kills by what was running."""
        self.endured: Counter[str] = Counter()
        """The same since the pipeline was begun anew."""
        self.resumed = 0
        """Kills of a training that had gone on from a checkpoint."""

    def kill(self) -> bool:
        """Kill the pipeline at a random moment of the next stage that has not had enough; False where there is none."""
        self.mend()
        dvc = self.project.start("dvc", "repro", *LEAVES, SFDDM_CHECKPOINT_SECONDS="0")
        stage = wait_for(lambda: self._next() or (dvc.poll() is not None and "none"), "a stage")
        if stage == "none":
            output = dvc.communicate()[0]
            assert dvc.returncode == 0, output
            return False
        started = time.monotonic()
        self._wait(stage)
        moment = time.monotonic() - started
        running = dict(self._running())
        alone = self.hits.total() % 2 == 1
        if alone and dvc.poll() is None:
            os.kill(dvc.pid, signal.SIGKILL)
        elif dvc.poll() is None:
            kill_group(dvc.pid, signal.SIGKILL)
        output, _ = dvc.communicate(timeout=240)
        for pid in running:
            wait_until_gone(pid)
        hit = next(iter(running.values()), "DVC between stages")
        self.hits[hit] += 1
        self.endured[hit] += 1
        resumed = "; it had gone on from a checkpoint" if f"stages.{hit}" in output and "going on" in output else ""
        self.resumed += bool(resumed)
        what = "DVC alone" if alone else "DVC and its stage"
        print(f"kill {self.hits.total()}: {what}, {moment:.2f} s into {stage}, hit {hit}{resumed}", flush=True)
        return True

    def mend(self) -> None:
        """Remove what a killed DVC left of its own files and stumbles over, as docs/reliability.md tells users to."""
        lock, runs = self.project.folder / ".dvc/tmp/rwlock", self.project.folder / ".dvc/cache/runs"
        try:
            json.loads(lock.read_text() if lock.exists() else "{}")
        except ValueError:
            lock.unlink()
            print("DVC's .dvc/tmp/rwlock was cut off: removed", flush=True)
        for folder in runs.glob("*/*"):
            if not any(folder.iterdir()):
                folder.rmdir()
                print("DVC's .dvc/cache/runs had an empty folder: removed", flush=True)

    def begin_anew(self) -> None:
        """Nothing is there but the source."""
        self.project.forget()
        self.endured.clear()

    def _wait(self, stage: str) -> None:
        """Until a random moment of a stage's life; of most trainings one soon after the next checkpoint.

        A training that goes on is over sooner every time: with moments of its whole life few would be hit twice.
        """
        name = TRAININGS.get(stage)
        if name is None or self.random.random() < 0.3:
            time.sleep(self.random.uniform(0.1, 0.7) * self.seconds[stage])
            return
        before = iterations_kept(self.project.folder, name)
        wait_for(
            lambda: iterations_kept(self.project.folder, name) > before or stage not in dict(self._running()).values(),
            f"a checkpoint of {stage}",
        )
        time.sleep(self.random.uniform(0, 0.1))

    def _running(self) -> Iterator[tuple[int, str]]:
        for pid, command in stages_in(self.project.folder):
            yield pid, command.partition("-m stages.")[2].strip()

    def _next(self) -> str | None:
        waiting = (stage for _, stage in self._running() if stage in STAGES and self.endured[stage] < IN_A_ROW)
        return next(waiting, None)


@pytest.fixture(scope="module")
def seconds(project: Project) -> dict[str, float]:
    """How long each stage takes on this machine, from start to end of its process, alone."""
    taken = {}
    for stage in STAGES:
        started = time.monotonic()
        name, *arguments = stage.split()
        process = project.start("python", "-m", f"stages.{name}", *arguments, SFDDM_CHECKPOINT_SECONDS="0")
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
        taken[stage] = time.monotonic() - started
    return taken


def test_kills_change_nothing(original: Project, seconds: dict[str, float], tmp_path: Path) -> None:
    before = original.hashes()
    print(f"\nseed {SEED}, {KILLS} kills; " + ", ".join(f"{stage}: {taken:.1f} s" for stage, taken in seconds.items()))
    chaos = Chaos(tmp_path, seconds)
    while chaos.hits.total() < KILLS:
        if not chaos.kill():
            chaos.begin_anew()
    started = time.monotonic()
    chaos.mend()
    chaos.project.run("dvc", "repro", *LEAVES)
    print(f"dvc repro ran through in {time.monotonic() - started:.0f} s")
    print("\n".join(f"{times:4d}  {stage}" for stage, times in chaos.hits.most_common()))
    assert chaos.project.hashes() == before
    assert not list(chaos.project.folder.glob("scratch/checkpoints/*"))
    assert not list(chaos.project.folder.glob("r*/**/*.partial"))
    assert tracked(chaos.project) == tracked(original)
    assert KILLS < 100 or min(chaos.hits[stage] for stage in STAGES) >= 3
    assert KILLS < 100 or chaos.resumed >= 10
    print(f"{chaos.hits.total()} kills, {chaos.resumed} of them of a training that had gone on from a checkpoint:")
    print(f"the hashes of all {len(before)} outputs are those of an undisturbed run")


def tracked(project: Project) -> dict[str, int]:
    """Finished runs in MLflow by content key, and versions of the model: each of them once."""
    import mlflow

    uri = f"sqlite:///{project.folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    keys = [run.data.tags.get("sfddm.content_key") for run in client.search_runs([experiment])]
    versions = [version.tags["sfddm.content_key"] for version in client.search_model_versions("name='sfddm-tiny'")]
    expected = YAML(typ="safe").load((project.folder / "runs/tiny/tracked.json").read_text())
    counts = Counter([key for key in keys if key in expected.values()] + versions)
    return dict(counts)
