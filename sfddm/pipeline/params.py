"""params.yaml and code.yaml: what DVC's `foreach` goes through, and which code each stage is made by.

Both follow from the specs of the folder that commands are started in, the root of the repository, and from its code;
where there is no code, as on a machine that has the package alone, from the installed one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from sfddm.errors import SpecError, UserError
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import to_yaml, write_text
from sfddm.runtime.fingerprint import INSTALLED, fingerprint
from sfddm.runtime.kinds import modules_of
from sfddm.spec.experiment import Spec
from sfddm.spec.read import load_spec, plain_data, spec_names

PARAMS, CODE = Path("params.yaml"), Path("code.yaml")
SYNC = "`sfddm spec sync`"
"""The command that writes both."""
NOT_CURRENT = f"{PARAMS} does not list the runs of specs/*.yaml: run {SYNC}."
HEADER = f"# Written by {SYNC} from {{origin}}: change those, then run it again.\n"
PLAIN = ("teacher", "reference", "track", "report")
"""The stages whose code is the same for every spec."""


def active() -> tuple[list[Spec], list[str]]:
    """The active specs that can run beside each other, and what is wrong with the others, which they don't wait for."""
    specs: list[Spec] = []
    faults = []
    taken: dict[tuple[str, str], str] = {}
    for name in spec_names():
        try:
            spec = load_spec(name)
            own = {("scorer", f"{name}-{scorer}") for scorer in spec.evaluation.scorers}
            own |= {("run", run.name) for run in spec.runs()}
            for what, item in sorted(own & taken.keys()):
                raise SpecError(f"specs {taken[what, item]} and {name} both have a {what} {item}: rename one of them.")
        except SpecError as error:
            faults.append(str(error))
        else:
            specs.append(spec)
            taken |= dict.fromkeys(own, name)
    return specs, faults


def expand(active: Sequence[Spec]) -> str:
    """The text of params.yaml that the specs ask for."""
    specs = {spec.name: {"data": spec.data.kind, "runs": [run.name for run in spec.runs()]} for spec in active}
    scorers = {
        f"{spec.name}-{name}": {"spec": spec.name, "scorer": name, "code": scorer.kind}
        for spec in active
        for name, scorer in spec.evaluation.scorers.items()
    }
    runs = {
        run.name: {
            "spec": spec.name,
            "student": run.student,
            "seed": run.seed,
            "code": spec.students[run.student].kinds,
            "scorers": scorer_kinds(spec),
            "parent": Paths(spec.name).parent(spec.parent(run)).as_posix(),
        }
        for spec in active
        for run in spec.runs()
    }
    return HEADER.format(origin="specs/*.yaml") + to_yaml({"specs": specs, "scorers": scorers, "runs": runs})


def scorer_kinds(spec: Spec) -> str:
    """What decides, beside what is common to all, the code that judges the students of a spec."""
    return "+".join(sorted({scorer.kind for scorer in spec.evaluation.scorers.values()}))


def section(stage: str, spec: Spec, item: str = "") -> str:
    """The section of code.yaml that has the code of a stage for a spec, or for one of its students or scorers."""
    if stage == "distill":
        return f"{stage}.{spec.students[item].kinds}"
    if stage == "scorer":
        return f"{stage}.{spec.scorer(item).kind}"
    kinds = {"data": spec.data.kind, "evaluate": scorer_kinds(spec)}
    return f"{stage}.{kinds[stage]}" if stage in kinds else stage


def code(section: str) -> str:
    """The fingerprint of the code that a section of code.yaml stands for, as the code is now."""
    stage, _, kinds = section.partition(".")
    modules = modules_of(stage, kinds) if kinds else []
    root = Path.cwd() if Path("sfddm/__init__.py").exists() else INSTALLED
    return fingerprint(f"stages.{stage}", *modules, root=root)


def require_current_code(section: str) -> None:
    """Raises: UserError: a section of code.yaml does not have the fingerprint of the code as it is."""
    content = plain_data(CODE.read_text(encoding="utf-8"), str(CODE)) if CODE.exists() else {}
    if at(content, section) != code(section):
        raise UserError(f"{CODE} does not describe the code of {section} as it is now: run {SYNC}, then `dvc repro`.")


def at(content: Any, path: str) -> Any:
    """What nested plain data have under keys joined by dots, as DVC names a param; None where there is nothing."""
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content


def sync() -> tuple[list[Path], list[str]]:
    """Write params.yaml and code.yaml anew: those that this changed, and what is wrong with specs that are left out."""
    specs, faults = active()
    texts = {PARAMS: expand(specs), CODE: expand_code(specs)}
    changed = [path for path, text in texts.items() if not _has(path, text)]
    for path in changed:
        write_text(path, texts[path])
    return changed, faults


def expand_code(specs: Sequence[Spec]) -> str:
    """The text of code.yaml that the code asks for."""
    students = [student for spec in specs for student in spec.students.values()]
    found: dict[str, Any] = {
        "data": _fingerprints("data", {spec.data.kind for spec in specs}),
        "scorer": _fingerprints("scorer", {each.kind for spec in specs for each in spec.evaluation.scorers.values()}),
        "distill": _fingerprints("distill", {student.kinds for student in students}),
        "evaluate": _fingerprints("evaluate", {scorer_kinds(spec) for spec in specs}),
    }
    found |= {stage: _quoted(code(stage)) for stage in PLAIN}
    return HEADER.format(origin="specs/*.yaml and the code") + to_yaml(found)


def _fingerprints(stage: str, kinds: set[str]) -> dict[str, Any]:
    return {kind: _quoted(code(f"{stage}.{kind}")) for kind in sorted(kinds)}


def is_current() -> bool:
    """Whether params.yaml lists the runs of the specs."""
    return _has(PARAMS, expand(active()[0]))


def lists_runs(spec: Spec) -> bool:
    """Whether params.yaml has the runs of one spec, where there is a params.yaml."""
    if not PARAMS.exists():
        return True
    listed = plain_data(PARAMS.read_text(encoding="utf-8"), str(PARAMS))
    return bool(at(listed, f"specs.{spec.name}.runs") == [run.name for run in spec.runs()])


def require_current() -> None:
    """Raises: SpecError: params.yaml disagrees with the specs."""
    if not is_current():
        raise SpecError(NOT_CURRENT)


def _has(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def _quoted(hash_: str) -> Any:
    """A fingerprint that no reader of YAML takes for a number."""
    return DoubleQuotedScalarString(hash_)
