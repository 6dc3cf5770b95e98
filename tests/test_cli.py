"""The command line's own promises."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "mlflow", "numpy", "sklearn", "dvc", "matplotlib", "ruamel.yaml")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["spec", "--help"],
        ["sample", "--help"],
        ["compare", "--help"],
        ["export", "--help"],
        ["teacher", "inspect", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom sfddm.cli import main\nsys.argv[1:] = " + repr(arguments) + "\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.strip().endswith("[]") and "Usage" in output
