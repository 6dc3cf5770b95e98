"""`sfddm reproduce` for both outcomes: what it prints, what it leaves in MLflow, and how it ends."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from attrs import frozen

from sfddm.cli import app
from sfddm.errors import UserError
from sfddm.pipeline.lock import md5
from sfddm.registry import reproduce as module
from sfddm.registry.verdict import Item
from sfddm.runtime.files import digest, write_json
from sfddm.spec.read import plain_data
from sfddm.tracking import versions
from tests.project import BIN, CHAMPION, OURS, Project

if TYPE_CHECKING:
    from mlflow import MlflowClient

EQUAL, OTHER = (
    Item(name="spec", verdict="equal", passed=True),
    Item(name="metrics", verdict="differ: recall", passed=False),
)


class Typed(Protocol):
    """The exit code of `sfddm ARGUMENTS` in this process, and what it printed."""

    def __call__(self, *arguments: str) -> tuple[int, str]: ...


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """What a user types."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(list(arguments))
        return int(ended.value.code or 0), capfd.readouterr().out

    return run


@frozen
class Verdict:
    """What a command said."""

    code: int
    output: str
    tag: tuple[str, str, str]
    """The version, and the name and the text of the tag that was set."""
    quick: bool


class Judged(Protocol):
    """The command, with its options, where these items are what was found."""

    def __call__(self, items: list[Item], *options: str) -> Verdict: ...


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, typed: Typed) -> Judged:
    """Nothing is rebuilt, and no MLflow is asked."""

    def judge(items: list[Item], *options: str) -> Verdict:
        tags: list[tuple[str, str, str]] = []
        asked: list[bool] = []

        def reproduce(uri: str, quick: bool) -> Iterator[Item]:
            asked.append(quick)
            yield from items

        monkeypatch.setattr(module, "reproduce", reproduce)
        monkeypatch.setattr(versions, "set_version_tag", lambda *tag: tags.append(tag))
        code, output = typed("reproduce", CHAMPION, *options)
        (tag,), (quick,) = tags, asked
        return Verdict(code, output, tag, quick)

    return judge


def test_a_version_that_was_rebuilt_ends_with_0(judged: Judged) -> None:
    found = judged([EQUAL])
    assert found.code == 0 and f"{CHAMPION} was rebuilt with the same result." in found.output and not found.quick
    uri, name, text = found.tag
    assert (uri, name) == (CHAMPION, "sfddm.reproduced")
    first, *rest = text.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 rebuilt with the same result", first)
    assert rest == ["spec: equal"]


def test_a_version_that_came_out_otherwise_ends_with_1_and_says_so(judged: Judged) -> None:
    found = judged([EQUAL, OTHER])
    assert found.code == 1 and f"{CHAMPION} was rebuilt with ANOTHER result." in found.output
    assert "differ: recall" in found.output
    assert found.tag[2].splitlines()[0].endswith(" rebuilt with ANOTHER result")
    assert found.tag[2].splitlines()[1:] == ["spec: equal", "metrics: differ: recall"]


@pytest.mark.parametrize(
    ("item", "code", "words"), [(EQUAL, 0, "with the same result"), (OTHER, 1, "with ANOTHER result")]
)
def test_a_quick_one_is_told_apart_from_a_rebuilt_one(judged: Judged, item: Item, code: int, words: str) -> None:
    found = judged([item], "--quick")
    assert found.code == code and f"was evaluated again {words}." in found.output and found.quick
    assert found.tag[1] == "sfddm.evaluated_again"


def test_a_run_is_not_a_version(typed: Typed) -> None:
    with pytest.raises(UserError, match="expected models:/NAME@ALIAS or models:/NAME/VERSION"):
        typed("reproduce", OURS)


@pytest.fixture
def here(released: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The released project as this process's own; what was said of its version is forgotten afterwards."""
    # MLflow keeps a database open under its address: other tests make this one anew under theirs.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{released.folder / 'mlflow.db'}?timeout=29")
    monkeypatch.setenv("PATH", str(BIN), prepend=":")
    monkeypatch.chdir(released.folder)
    key = tags(released)["sfddm.content_key"]
    yield released
    client(released).set_model_version_tag("sfddm-tiny", "1", "sfddm.content_key", key)
    for name in set(tags(released)) & {"sfddm.reproduced", "sfddm.evaluated_again"}:
        client(released).delete_model_version_tag("sfddm-tiny", "1", name)


def client(project: Project) -> "MlflowClient":
    import mlflow

    uri = f"sqlite:///{project.folder / 'mlflow.db'}?timeout=29"
    return mlflow.MlflowClient(uri, uri)


def tags(project: Project) -> dict[str, str]:
    return dict(client(project).get_model_version("sfddm-tiny", "1").tags)


def about(project: Project, name: str) -> Path:
    """A file of what the version says of itself."""
    (path,) = (project.folder / "mlartifacts").rglob(f"provenance/{name}")
    return path


@pytest.fixture
def rewrite(here: Project) -> Iterator[Callable[[Path, Any], None]]:
    """Write other JSON into files of the project, which get their own back."""
    before: dict[Path, bytes] = {}

    def write(path: Path, content: Any) -> None:
        before.setdefault(path, path.read_bytes())
        path.unlink()  # it may be a link of DVC's, or read-only
        write_json(path, content)

    yield write
    for path, content in before.items():
        path.write_bytes(content)


@pytest.mark.pipeline
def test_a_version_whose_figures_are_found_again_is_reproduced(here: Project, typed: Typed) -> None:
    code, output = typed("reproduce", CHAMPION, "--quick")
    assert code == 0, output
    assert "evaluated again with the same result" in output and "equal to the last digit" in output
    assert "metrics: equal to the last digit" in tags(here)["sfddm.evaluated_again"]


@pytest.mark.pipeline
def test_a_version_that_was_registered_with_a_better_figure_is_not_reproduced(
    here: Project, typed: Typed, rewrite: Callable[[Path, Any], None]
) -> None:
    """Its own hashes agree with each other; no evaluation gives what it says."""
    metrics = json.loads(about(here, "metrics.json").read_text())
    metrics["scorers"]["pixels"]["frechet_distance"] *= 0.99
    rewrite(about(here, "metrics.json"), metrics)
    spec = dict(plain_data(about(here, "spec.yaml").read_text(), "spec.yaml"))
    claimed = json.loads(about(here, "metrics.json").read_text())
    lineage = json.loads(about(here, "lineage.json").read_text())
    for out in lineage[f"evaluate@{OURS}"]["outs"]:
        if out["path"].endswith("metrics.json"):
            out["md5"] = md5(about(here, "metrics.json"))
    rewrite(about(here, "lineage.json"), lineage)
    content_key = digest({"spec": spec, "metrics": claimed})[:16]
    client(here).set_model_version_tag("sfddm-tiny", "1", "sfddm.content_key", content_key)
    code, output = typed("reproduce", CHAMPION, "--quick")
    assert code == 1, output
    assert "evaluated again with ANOTHER result" in output
    changed = "metrics: differ on the same kind of machine: scorers.pixels.frechet_distance"
    assert changed in tags(here)["sfddm.evaluated_again"]


@pytest.mark.pipeline
def test_a_version_whose_commit_has_other_code_is_not_reproduced(
    here: Project, typed: Typed, rewrite: Callable[[Path, Any], None]
) -> None:
    """Nothing is made from such code."""
    history = json.loads((here.folder / "promotions.json").read_text())
    with here.edit("sfddm/images.py", "GAP = 2", "GAP = 3"), here.tag("other-code", ".") as name:
        commit = here.run("git", "rev-parse", f"{name}^{{commit}}").strip()
        events = [{**event, "commit": commit} for event in history["events"]]
        rewrite(here.folder / "promotions.json", {"events": events})
        code, output = typed("reproduce", CHAMPION)
    assert code == 1, output
    assert "rebuilt with ANOTHER result" in output and "bit-identical" not in output
    said = tags(here)["sfddm.reproduced"].splitlines()
    assert "spec: equal" in said and "code: another one: evaluate.classifier+pixels" in said


@pytest.mark.pipeline
@pytest.mark.prove
def test_a_version_that_a_gpu_made_is_rebuilt_without_one_and_its_teacher_as_on_its_own_machine(
    here: Project, typed: Typed, rewrite: Callable[[Path, Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing here is a GPU: only what the version says of itself."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    origin = json.loads(about(here, "origin.json").read_text())
    gpu = {**origin["machines"]["student"], "device": "cuda", "processor": "one", "threads": 64, "processes": 8}
    machines = {**origin["machines"], "student": gpu, "evaluation": gpu}
    rewrite(about(here, "origin.json"), {**origin, "machines": machines})
    code, output = typed("reproduce", CHAMPION)
    assert code == 0, output
    said = tags(here)["sfddm.reproduced"].splitlines()
    assert {"machine of the teacher: same kind", "teacher: bit-identical", "weights: bit-identical"} <= set(said)
    (student,) = (line for line in said if line.startswith("machine of the student: "))
    assert "another kind: device cuda | cpu" in student and "threads 64 | 1" in student
