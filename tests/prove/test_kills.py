"""kill -9 at random moments of every stage, several in a row: the pipeline ends as if nothing had happened."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.processes import kill_group, stages_in, wait_for, wait_until_gone
from tests.project import LEAVES, Project

pytestmark = pytest.mark.prove

KILLS = int(os.environ.get("SFDDM_PROVE_KILLS", "100"))
SEED = int(os.environ.get("SFDDM_PROVE_SEED", "20261125"))
IN_A_ROW = 5
"""Kills of one stage before it may end."""
STAGES = (
    "data tiny",
    "scorer tiny",
    "teacher tiny",
    "reference tiny",
    "distill tiny ddim-t4 0",
    "distill tiny ours-t4 0",
    "evaluate tiny ddim-t4 0",
    "evaluate tiny ours-t4 0",
    "track tiny",
    "report tiny",
)


class Chaos:
    """A clone whose pipeline is killed again and again."""

    def __init__(self, folder: Path, random: random.Random) -> None:
        self.project, self.random = Project(folder), random
        self.killed: Counter[str] = Counter()

    def kill(self, stage: str, seconds: float) -> bool:
        """Kill the pipeline at a random moment of a stage that takes so long; False where the stage is done already."""
        dvc = self.project.start("dvc", "repro", *LEAVES, SFDDM_CHECKPOINT_SECONDS="0")
        pid = wait_for(lambda: self._running(stage) or (dvc.poll() is not None and -1), f"stages.{stage}", 200)
        if pid == -1:
            return False
        moment = self.random.uniform(0.3, 1) * seconds
        time.sleep(moment)
        running = dict(stages_in(self.project.folder))
        alone = self.killed.total() % 2 == 1
        if alone:
            os.kill(dvc.pid, signal.SIGKILL)
        else:
            kill_group(dvc.pid, signal.SIGKILL)
        output, _ = dvc.communicate(timeout=60)
        for other in running:
            wait_until_gone(other)
        hit = next((command.partition("stages.")[2].strip() for command in running.values()), "DVC between stages")
        self.killed[hit] += 1
        resumed = " (it had gone on from a checkpoint)" if "going on after iteration" in output else ""
        what = "DVC alone" if alone else "DVC and its stage"
        print(f"kill {self.killed.total()}: {what}, {moment:.2f} s into {stage}; hit {hit}{resumed}", flush=True)
        return hit == stage

    def _running(self, stage: str) -> int | None:
        return next((pid for pid, command in stages_in(self.project.folder) if f"stages.{stage} " in command), None)


@pytest.fixture(scope="module")
def seconds(project: Project) -> dict[str, float]:
    """How long each stage takes on this machine, from start to end of its process, alone."""
    taken = {}
    for stage in STAGES:
        started = time.monotonic()
        name, *arguments = stage.split()
        project.run("python", "-m", f"stages.{name}", *arguments, SFDDM_CHECKPOINT_SECONDS="0")
        taken[stage] = time.monotonic() - started
    print("\n" + "\n".join(f"{stage}: {duration:.1f} s" for stage, duration in taken.items()))
    return taken


def rounds(chaos: Chaos) -> Iterator[str]:
    """Every stage in turn, the whole pipeline again and again."""
    while chaos.killed.total() < KILLS:
        chaos.project.forget()
        yield from STAGES


def test_kills_change_nothing(
    project: Project, seconds: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.hashes()
    chaos = Chaos(tmp_path, random.Random(SEED))
    with capsys.disabled():
        print(f"\nseed {SEED}, {KILLS} kills")
        for stage in rounds(chaos):
            for _ in range(min(IN_A_ROW, KILLS - chaos.killed.total())):
                if not chaos.kill(stage, seconds[stage]):
                    break
        started = time.monotonic()
        chaos.project.run("dvc", "repro", *LEAVES)
        print(f"dvc repro ran through in {time.monotonic() - started:.0f} s")
        for stage, times in chaos.killed.most_common():
            print(f"{times:4d}  {stage}")
        print(f"{chaos.killed.total()} kills, {len(before)} outputs: the same hashes as an undisturbed run")
    assert chaos.project.hashes() == before
    assert not list(chaos.project.folder.glob("scratch/checkpoints/*"))
    assert not list(chaos.project.folder.glob("r*/**/*.partial"))
    assert tracked(chaos.project) == tracked(project)


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
