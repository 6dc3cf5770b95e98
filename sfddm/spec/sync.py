"""params.yaml: every spec expanded into the runs that DVC's `foreach` goes through."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sfddm.errors import SpecError
from sfddm.files import write_text
from sfddm.paths import Paths
from sfddm.spec.modules import module_name
from sfddm.spec.read import load_spec, spec_names

PARAMS = Path("params.yaml")
HEADER = "# Written by `sfddm spec sync` from specs/*.yaml: change those, then run it again.\n"


def expand() -> str:
    """The text of params.yaml that the specs ask for."""
    specs: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    for name in spec_names():
        spec = load_spec(name)
        specs[spec.name] = {"data": module_name(spec.data), "runs": [run.name for run in spec.runs()]}
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
                "module": module_name(spec.students[run.student].method),
                "parent": Paths(spec.name).parent(spec.parent(run)).as_posix(),
            }
    buffer = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.dump({"specs": specs, "runs": runs}, buffer)
    return HEADER + buffer.getvalue()


def is_current() -> bool:
    """Whether params.yaml says what the specs say."""
    return PARAMS.exists() and PARAMS.read_text(encoding="utf-8") == expand()


def sync() -> bool:
    """Write params.yaml anew; say whether that changed it."""
    if is_current():
        return False
    write_text(PARAMS, expand())
    return True


def require_current() -> None:
    """Raises: SpecError: params.yaml disagrees with the specs."""
    if not is_current():
        raise SpecError(f"{PARAMS} does not list the runs of specs/*.yaml: run `sfddm spec sync`.")
