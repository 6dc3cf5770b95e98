"""The command line's own promises."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "mlflow", "numpy", "sklearn", "dvc", "matplotlib", "ruamel.yaml")


COMMANDS = ("", "spec", "sample", "compare", "export", "teacher inspect")
SCRIPT = f"""
import sys
from sfddm.cli import main

for command in {COMMANDS}:
    sys.argv[1:] = [*command.split(), "--help"]
    try:
        main()
    except SystemExit:
        print(command, [name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.process
def test_help_imports_nothing_heavy() -> None:
    """In one process: what one command imports is there for all that come after it."""
    output = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert output.count("Usage: ") == len(COMMANDS)
    assert [line for line in output.splitlines() if line.endswith("]")] == [f"{command} []" for command in COMMANDS]
