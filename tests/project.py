"""A clone of this repository in a folder of its own, with tiny as its only spec, and the commands that a user types."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import forks

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LEAVES = ("track@tiny", "report@tiny")
OURS, CHAMPION = "tiny-ours-t4-s0", "models:/sfddm-tiny@champion"
WHO = {f"GIT_{role}_{what}": "test@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
"""Who commits."""

ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


class Project:
    """A clone and what can be done in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        for spec in (folder / "specs").glob("*.yaml"):
            spec.unlink()
        shutil.copy(ROOT / "tests/tiny.yaml", folder / "specs/tiny.yaml")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        self.run("sfddm", "spec", "sync")

    @classmethod
    def at(cls, folder: Path) -> "Project":
        """A clone that is there already."""
        found = cls.__new__(cls)
        found.folder = folder
        return found

    def copy(self, folder: Path) -> "Project":
        """The same with all that the pipeline made, in a folder of its own; MLflow is empty there."""
        left_out = shutil.ignore_patterns("mlflow.db*", "mlartifacts", "scratch", "tmp")
        shutil.copytree(self.folder, folder, symlinks=True, ignore=left_out)
        return self.at(folder)

    def start(self, *command: str, forked: bool = False, **environment: str) -> "subprocess.Popen[str]":
        """Start a command in the clone, in a session of its own; stages of it are forks, if so asked."""
        whole = _environment(environment)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=forks.for_stages(whole) if forked else whole,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, code: int = 0, **environment: str) -> str:
        """Run a command and return what it printed; it has to end with `code`. Our own and DVC's are forks."""
        if forks.can_fork(command):
            ended, output = forks.run(self.folder, command, forks.for_stages(_environment(environment)))
        else:
            process = self.start(*command, **environment)
            output, _ = process.communicate(timeout=900)
            ended = process.returncode
        assert ended == code, f"{' '.join(command)} ended with {ended}:\n{output}"
        return output

    def changed(self) -> set[str]:
        """The stages that DVC would run again, by their own inputs."""
        status: dict[str, Any] = json.loads(self.run("dvc", "status", "--json"))
        return set(status)

    def forget(self) -> None:
        """Everything that the pipeline made is gone."""
        for name in ("runs", "reports", "scratch", "mlartifacts", ".dvc/cache", ".dvc/tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("dvc.lock", "mlflow.db"):
            (self.folder / name).unlink(missing_ok=True)

    def edit(self, name: str, old: str, new: str) -> "Edit":
        """Replace text in a file as long as a `with` block lasts."""
        return Edit(self.folder / name, old, new)

    @contextmanager
    def tag(self, name: str, *paths: str) -> Iterator[str]:
        """A git tag on some files as they are, as long as a `with` block lasts; the branch stays without commits."""
        index = {"GIT_INDEX_FILE": str(self.folder / ".git" / f"index-of-{name}")}
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        self.run("git", "add", "--", *paths, **index)
        tree = self.run("git", "write-tree", **index).strip()
        self.run("git", "tag", name, self.run("git", *who, "commit-tree", tree, "-m", name).strip())
        yield name
        self.run("git", "tag", "--delete", name)

    def hashes(self) -> dict[str, str]:
        """DVC's hash of every output but the measured ones."""
        from ruamel.yaml import YAML

        stages = YAML(typ="safe").load((self.folder / "dvc.lock").read_text())["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        measured = ("timing.json", ".md", ".html", "/figures")
        return {out["path"]: out["md5"] for out in outs if not out["path"].endswith(measured)}


def _environment(changes: dict[str, str]) -> dict[str, str]:
    own = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    # MLflow in this process leaves its addresses in the environment, and they are not those of the clone.
    before = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
    return {**before, **own, **changes}


class Edit:
    """Text of a file that is replaced for a while."""

    def __init__(self, path: Path, old: str, new: str) -> None:
        self.path, self.before = path, path.read_text()
        assert old in self.before
        self.after = self.before.replace(old, new, 1)

    def __enter__(self) -> None:
        self.path.write_text(self.after)

    def __exit__(self, *_: object) -> None:
        self.path.write_text(self.before)


def commit(project: Project, *paths: str) -> None:
    """Commit what is in these paths."""
    project.run("git", "add", "--", *paths)
    project.run("git", "commit", "--quiet", "--message", "more", **WHO)
