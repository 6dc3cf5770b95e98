"""How much memory is free: of the machine, and within the limits that containers and batch systems set."""

from pathlib import Path

import pytest

from sfddm.runtime import memory
from sfddm.runtime.memory import free_memory

MIB = 2**20
OLD = {
    "memory.limit_in_bytes": 0,
    "memory.usage_in_bytes": 0,
    "memory.stat": "inactive_file 9\ntotal_inactive_file {}\n",
}
NEW = {"memory.max": 0, "memory.current": 0, "memory.stat": "anon 5\ninactive_file {}\n"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 1000 MiB free, whose control groups are in this folder."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 9999999 kB\nMemAvailable:  {1000 * 1024} kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    return tmp_path


def group(folder: Path, names: dict[str, object], limit: int | str, used: int, cached: int = 0) -> None:
    """A control group, in MiB; a limit may be a word."""
    folder.mkdir(parents=True, exist_ok=True)
    values = (
        limit if isinstance(limit, str) else limit * MIB,
        used * MIB,
        str(names["memory.stat"]).format(cached * MIB),
    )
    for name, value in zip(names, values, strict=True):
        (folder / name).write_text(f"{value}\n")


def test_without_control_groups_all_that_the_machine_has_is_free(root: Path) -> None:
    assert free_memory("cpu") == 1000 * MIB


@pytest.mark.parametrize(
    ("own", "names", "base"), [("0::/jobs/one\n", NEW, ""), ("5:memory:/jobs/one\n", OLD, "memory")]
)
def test_the_tightest_limit_counts_less_what_is_used_and_not_cached(
    own: str, names: dict[str, object], base: str, root: Path
) -> None:
    (root / "own").write_text(f"9:cpu,cpuacct:/\n{own}")
    one = root / "groups" / base / "jobs" / "one"
    group(one, names, 800, used=300, cached=100)
    assert free_memory("cpu") == 600 * MIB
    active = (one / "memory.stat").read_text().replace("inactive", "active")
    (one / "memory.stat").write_text(active + (one / "memory.stat").read_text())
    assert free_memory("cpu") == 700 * MIB, "pages that were read twice can be dropped, too"
    (one / "memory.stat").unlink()
    assert free_memory("cpu") == 500 * MIB
    group(root / "groups" / base / "jobs", names, 700, used=400)
    assert free_memory("cpu") == 300 * MIB, "of the group around it"
    group(root / "groups" / base, names, 5000, used=10)
    assert free_memory("cpu") == 300 * MIB
    group(root / "groups" / base / "jobs", names, 700, used=900)
    assert free_memory("cpu") == 0


def test_a_group_without_a_limit_and_one_that_is_not_to_be_seen_change_nothing(root: Path) -> None:
    (root / "own").write_text("0::/docker/0123\n")
    assert free_memory("cpu") == 1000 * MIB
    group(root / "groups" / "docker" / "0123", NEW, "max", used=300)
    assert free_memory("cpu") == 1000 * MIB
    group(root / "groups", NEW, 64, used=60)
    assert free_memory("cpu") == 4 * MIB, "a container's own root, whose path from outside is not there"
