"""params.yaml and code.yaml: what DVC's `foreach` goes through, and which code each stage is made by.

Both follow from the specs of the folder that commands are started in, the root of the repository, and from its code;
where there is no code, as on a machine that has the package alone, from the installed one.
"""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from sfddm.errors import SpecError, UserError
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import write_text
from sfddm.runtime.fingerprint import INSTALLED, fingerprint
from sfddm.runtime.kinds import kinds_of, module_name
from sfddm.spec.data import Data
from sfddm.spec.evaluation import Scorer
from sfddm.spec.read import load_spec, plain_data, spec_names
from sfddm.spec.students import Method

PARAMS, CODE = Path("params.yaml"), Path("code.yaml")
SYNC = "`sfddm spec sync`"
"""The command that writes both."""
HEADER = "# Written by {sync} from {origin}: change those, then run it again.\n"
STAGES = ("data", "scorer", "teacher", "reference", "distill", "evaluate", "track", "report")
KINDS = {"data": Data, "scorer": Scorer, "distill": Method, "evaluate": Scorer}
"""The stages that have a module, and so a fingerprint, for each kind of a section."""


def expand() -> str:
    """The text of params.yaml that the specs ask for."""
    specs: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    for name in spec_names():
        spec = load_spec(name)
        scorer, names = spec.evaluation.scorer.kind, [run.name for run in spec.runs()]
        specs[spec.name] = {"data": spec.data.kind, "scorer": scorer, "runs": names}
        for run in spec.runs():
            if run.name in runs:
                other = runs[run.name]["spec"]
                raise SpecError(
                    f"specs {other} and {spec.name} both have a run {run.name}: rename one of the students."
                )
            runs[run.name] = {
                "spec": spec.name,
                "student": run.student,
                "seed": run.seed,
                "method": run.method,
                "scorer": scorer,
                "parent": Paths(spec.name).parent(spec.parent(run)).as_posix(),
            }
    return _yaml({"specs": specs, "runs": runs}, "specs/*.yaml")


def fingerprints(stage: str) -> Any:
    """The fingerprint of a stage's code, or one for each of its kinds."""
    root = Path.cwd() if Path("sfddm/__init__.py").exists() else INSTALLED
    module = f"stages.{stage}"
    if stage not in KINDS:
        return fingerprint(module, root=root)
    return {kind: fingerprint(module, module_name(stage, kind), root=root) for kind in kinds_of(KINDS[stage])}


def code_of(stage: str, kind: str | None = None) -> str:
    """The fingerprint of the code that makes a stage's output, for keys of what is kept between runs."""
    found = fingerprints(stage)
    return str(found if kind is None else found[kind])


def require_current_code(stage: str) -> None:
    """Raises: UserError: code.yaml does not have the fingerprints of a stage's code as it is."""
    noted = plain_data(CODE.read_text(encoding="utf-8"), str(CODE)) if CODE.exists() else {}
    if not isinstance(noted, dict) or noted.get(stage) != fingerprints(stage):
        raise UserError(
            f"{CODE} does not describe the code of stages/{stage}.py as it is now: run {SYNC}, then `dvc repro` again."
        )


def is_current() -> bool:
    """Whether params.yaml says what the specs say."""
    return _has(PARAMS, expand())


def sync() -> list[Path]:
    """Write params.yaml and code.yaml anew; return those that this changed."""
    texts = {PARAMS: expand(), CODE: expand_code()}
    changed = [path for path, text in texts.items() if not _has(path, text)]
    for path in changed:
        write_text(path, texts[path])
    return changed


def expand_code() -> str:
    """The text of code.yaml that the code asks for."""
    return _yaml({stage: _quoted(fingerprints(stage)) for stage in STAGES}, "the code")


def require_current() -> None:
    """Raises: SpecError: params.yaml disagrees with the specs."""
    if not is_current():
        raise SpecError(f"{PARAMS} does not list the runs of specs/*.yaml: run {SYNC}.")


def _has(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def _quoted(found: Any) -> Any:
    """Fingerprints that no reader of YAML takes for numbers."""
    if isinstance(found, dict):
        return {kind: DoubleQuotedScalarString(text) for kind, text in found.items()}
    return DoubleQuotedScalarString(found)


def _yaml(content: dict[str, Any], origin: str) -> str:
    buffer = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.dump(content, buffer)
    return HEADER.format(sync=SYNC, origin=origin) + buffer.getvalue()
