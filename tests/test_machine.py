"""What makes machines of another kind: it is in the keys of all that is kept, and noted with all that is made."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sfddm.errors import UserError
from sfddm.runtime import machine as module
from sfddm.runtime.machine import PACKAGES, VARIABLES, choose_kernels, machine
from tests.project import ROOT

KEYS = """
from pathlib import Path
from sfddm.methods.trajectories import load_or_compute
from sfddm.networks.contract import Contract
from sfddm.training.checkpoints import Checkpoints
from tests.gaussian import linear_teacher
from tests.parts import CACHE
teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
load_or_compute(teacher, "teacher", (16, 64), CACHE, Path("cache"))
(states,) = Path("cache").glob("*/states.npy")
print(Checkpoints(Path("checkpoints"), {}).folder.name, states.parent.name)
"""


def keys(folder: Path, **variables: str) -> list[str]:
    """The keys of a training's checkpoints and of a teacher's trajectories, in a process with these variables."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", KEYS]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.process
def test_a_processor_of_which_less_is_used_has_other_keys(tmp_path: Path) -> None:
    usual = keys(tmp_path / "usual")
    assert len(usual) == 2 and keys(tmp_path / "again") == usual
    for name, value in (("ATEN_CPU_CAPABILITY", "default"), ("ONEDNN_MAX_CPU_ISA", "SSE41")):
        found = keys(tmp_path / name, **{name: value})
        assert found[0] != usual[0] and found[1] != usual[1]


def test_machines_of_one_kind_are_equal() -> None:
    assert machine(2) == machine(2) and machine(2)["processes"] == 2
    assert machine(1) != machine(2)


def test_the_number_of_threads_counts_on_a_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert machine(1)["threads"] == 3
    on_gpu(monkeypatch, "one")
    assert machine(1)["threads"] == 0


def on_gpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let this process take itself for one with a GPU."""
    monkeypatch.setattr(module, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)


def test_gpus_of_another_model_or_with_another_cudnn_are_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [machine(1)]
    for name in ("one", "another"):
        on_gpu(monkeypatch, name)
        kinds.append(machine(1))
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 1)
    kinds.append(machine(1))
    assert all(kinds.count(kind) == 1 for kind in kinds)


@pytest.mark.parametrize("package", PACKAGES)
def test_other_versions_of_what_computes_are_of_another_kind(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    before, version = machine(1), module.version
    monkeypatch.setattr(module, "version", lambda name: "0" if name == package else version(name))
    assert {**before, package: "0"} == machine(1)


def test_the_packages_that_compute_are_all_there() -> None:
    assert set(PACKAGES) == {"torch", "diffusers", "numpy"}


@pytest.mark.parametrize(("other", "same"), [(("3", "11", "99"), True), (("3", "10", "7"), False)])
def test_a_minor_version_of_python_is_of_another_kind(
    monkeypatch: pytest.MonkeyPatch, other: tuple[str, str, str], same: bool
) -> None:
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "11", "0"))
    before = machine(1)
    monkeypatch.setattr(platform, "python_version_tuple", lambda: other)
    assert (machine(1) == before) == same


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cudnn, "enabled"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.mkldnn, "enabled"),
    ],
)
def test_each_switch_of_torch_makes_another_kind(of: object, name: str) -> None:
    before, value = machine(1), getattr(of, name)
    try:
        setattr(of, name, not value)  # monkeypatch would delete what these objects compute
        assert machine(1) != before
    finally:
        setattr(of, name, value)


def test_the_precision_of_matrix_products_and_deterministic_algorithms_make_another_kind() -> None:
    kinds, precision = [machine(1)], torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        kinds.append(machine(1))
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(True)
        kinds.append(machine(1))
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(False)
    assert all(kinds.count(kind) == 1 for kind in kinds) and machine(1) == kinds[0]


def test_deterministic_kernels_are_asked_for_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    try:
        for choice, asked in (("0", False), ("1", True)):
            monkeypatch.setenv("SFDDM_DETERMINISTIC", choice)
            choose_kernels()
            assert machine(1)["deterministic"] == asked == ("CUBLAS_WORKSPACE_CONFIG" in os.environ)
        monkeypatch.setenv("SFDDM_DETERMINISTIC", "yes")
        with pytest.raises(UserError, match="SFDDM_DETERMINISTIC is 'yes': expected 0 or 1"):
            choose_kernels()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_makes_another_kind(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = machine(1)
    monkeypatch.setenv(name, "1")
    assert {**before, name: "1"} == machine(1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f amx_bf16 sse\nflags\t\t: fpu\n",
         "GenuineIntel avx2 avx512f amx_bf16"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2\n", "AuthenticAMD avx2"),
        ("Features\t: fp asimd sve bf16\nCPU implementer\t: 0x41\n", "0x41 sve bf16"),
        ("something else\n", ""),
    ],
)  # fmt: skip
def test_processors_that_have_other_instructions_are_of_another_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, found: str
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    assert machine(1)["instructions"] == found


def test_where_linux_says_nothing_of_its_processor_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    assert machine(1)["instructions"] == ""
