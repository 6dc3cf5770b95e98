"""The command line in this process, as a user types it."""

import pytest

from sfddm.cli import main


def sfddm(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `sfddm ARGUMENTS` here; returns its exit code."""
    monkeypatch.setattr("sys.argv", ["sfddm", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
