"""The lines of docs/api.md, as they are, in an environment that has the wheel and what it asks for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

pytestmark = pytest.mark.prove
TEXT = (ROOT / "docs/api.md").read_text()


def test_the_lines_of_the_documentation_run_where_only_the_wheel_is(tmp_path: Path) -> None:
    def run(*command: object) -> str:
        done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("sfddm-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "empty")
    python = tmp_path / "empty/bin/python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    assert not {"mlflow", "dvc"} & {line.split("==")[0].lower() for line in run(python, "-m", "pip", "freeze").split()}
    lines, shorter = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/lines.py").write_text(f'import os\nos.chdir("own")\n{lines}{shorter}')
    own, teachers = map(float, re.findall(r"-?\d+\.\d+", run(python, tmp_path / "own/lines.py")))
    assert 0 < teachers < 1 and own < 3 * teachers
