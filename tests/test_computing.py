"""Precision, memory format and compilation: other last bits, the same training."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from attrs import evolve
from torch import nn

from sfddm.errors import UserError
from sfddm.evaluation.scorers import pixels
from sfddm.evaluation.scorers.extractor import load_extractor, write_extractor
from sfddm.methods import sfddm
from sfddm.methods.job import distill
from sfddm.methods.sources import batches as batches_of
from sfddm.methods.trajectories import load_or_compute
from sfddm.networks.denoiser import build, unet_config
from sfddm.runtime.machine import compile_errors, require_bf16
from sfddm.runtime.memory import memory_errors
from sfddm.spec.evaluation import PixelValues
from sfddm.training import batches
from sfddm.training.batches import gathered, resident
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.loop import begin, iterate, prepare
from tests.mortal import Killed, Mortal
from tests.parts import (
    CACHE,
    CPU,
    METHODS,
    OURS,
    ROLLOUT,
    SOURCES,
    loss_points,
    of,
    random_split,
    task,
    tiny,
    untrained_teacher,
)

COMPUTING = {
    "channels_last": {"memory_format": "channels_last"},
    "bf16": {"precision": "bf16"},
    "all": {"memory_format": "channels_last", "precision": "bf16", "compile": True},
}
SOME = evolve(METHODS["sfddm"].training, iterations=6, batch_size=16)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("channels_last", "inductor"),
        ("bf16", "inductor"),
        pytest.param("all", "aot_eager", marks=pytest.mark.heavy),
        pytest.param("all", "inductor", marks=[needs_compiler, pytest.mark.prove]),
    ],
)
def test_the_losses_stay_those_of_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, backend: str
) -> None:
    """`aot_eager` traces a network and its gradients as the real backend does, which compiles them for minutes."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for folder in ("plain", "other"):
        (tmp_path / folder).mkdir()
    plain, other = (
        loss_points(distill(of(folder, evolve(METHODS["sfddm"], training=evolve(SOME, **changes)))).curve)
        for folder, changes in ((tmp_path / "plain", {}), (tmp_path / "other", COMPUTING[name]))
    )
    close = 2e-2 if "precision" in COMPUTING[name] else 1e-4
    assert other == pytest.approx(plain, rel=close)
    assert other != plain


@pytest.mark.parametrize(("method", "name"), [("sfddm", "channels_last"), ("sfddm", "bf16"),
                                              ("progressive", "channels_last")])  # fmt: skip
def test_killed_and_gone_on_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, name: str
) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")
    described = of(tmp_path, evolve(METHODS[method], training=evolve(SOME, **COMPUTING[name])))
    made = []
    for checkpoints in (Checkpoints(tmp_path / "whole", {}), Mortal(tmp_path / "killed", {})):
        student = None
        while student is None:
            try:
                student = distill(evolve(described, checkpoints=checkpoints))
            except Killed:
                checkpoints = Mortal(tmp_path / "killed", {})
        out = tmp_path / str(len(made))
        out.mkdir()
        student.write(out)
        made.append((out / "diffusion_pytorch_model.safetensors").read_bytes())
    assert made[0] == made[1]


def test_trajectories_of_another_layout_are_others(tmp_path: Path) -> None:
    for memory_format in ("contiguous", "channels_last", "contiguous"):
        teacher = untrained_teacher()
        prepare(teacher, evolve(SOME, memory_format=memory_format))
        load_or_compute(teacher, "key", (32, 64), CACHE, tmp_path)
    assert len(list(tmp_path.glob("*/states.npy"))) == 2


@needs_compiler
@pytest.mark.prove
def test_a_network_is_compiled_whole_and_keeps_its_names() -> None:
    from torch._dynamo.utils import counters
    from torch._inductor import config

    torch.compiler.reset()
    counters.clear()
    network, contract = tiny().teacher.source.network, untrained_teacher().contract
    small = evolve(network, channels=(8,), attention=(False,))
    teacher = build(unet_config(small, (1, 8, 8)), contract, 0).eval().requires_grad_(False)
    names, x, level = list(teacher.state_dict()), torch.randn(3, 1, 8, 8), torch.tensor([1, 30, 64])
    plain = teacher(x, level)
    prepare(teacher, evolve(SOME, compile=True))
    with config.patch(compile_threads=1):  # more would be processes of their own
        compiled = teacher(x, level)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 1
    assert torch.allclose(plain.output, compiled.output, atol=1e-4)
    assert torch.allclose(plain.features, compiled.features, atol=1e-3)
    assert list(teacher.state_dict()) == names
    assert teacher.computing["compiled"]


@pytest.mark.heavy
def test_weights_that_a_rollout_used_in_bf16_have_their_gradients(tmp_path: Path) -> None:
    """Autocast keeps what it has cast, and before torch 2.11 what it cast without gradients as well."""
    training = evolve(SOME, precision="bf16")
    draw, student = batches_of(task(tmp_path, sources=(ROLLOUT,), training=training)), untrained_teacher(seed=1)
    state = begin(student.requires_grad_(True), training)
    iterate(state, lambda step, _: sfddm.losses(OURS, student, student, draw(step, student)), 0, 1e-3, training)
    assert all(weights.grad is not None and weights.grad.any() for weights in student.parameters())


def test_rollouts_of_a_compiled_student_compile_nothing(tmp_path: Path) -> None:
    """Their batches have a size of their own at every step, and torch.compile gives up after a few."""
    from torch._dynamo.utils import counters

    counters.clear()
    plain, student = untrained_teacher(seed=1), untrained_teacher(seed=1)
    student.compile(dynamic=False, backend="eager")
    rollouts = SOURCES["mix"][1:2]
    draw = batches_of(task(tmp_path, sources=rollouts, training=evolve(SOME, batch_size=16)))
    for step in range(3):
        assert torch.equal(draw(step, student).x, draw(step, plain).x)
    assert not counters["stats"]
    student(torch.zeros(1, 1, 8, 8), torch.tensor([1]))
    assert counters["stats"]["unique_graphs"] == 1, "outside of them it is compiled"


@pytest.mark.heavy
def test_no_compiler_is_a_users_error() -> None:
    from torch._inductor import config

    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    network.compile()
    nowhere = config.patch({"cpp.cxx": ("/nowhere/g++",), "compile_threads": 1})
    with pytest.raises(UserError, match=r"torch\.compile failed") as failed, nowhere, compile_errors():
        network(torch.ones(1, 2))
    assert "It needs a C++ compiler" in str(failed.value)
    assert "compile: false" in str(failed.value)


def test_other_errors_pass_through() -> None:
    with pytest.raises(ValueError, match="other"), compile_errors():
        raise ValueError("other")


def test_too_little_memory_on_a_gpu_is_worded_as_torch_words_it() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.20 GiB is "
        "free. Process 7 has 77.90 GiB memory in use. Of the allocated memory 70 GiB is allocated by PyTorch."
    )
    with pytest.raises(UserError) as error, memory_errors(lambda: "Lower batch_size."):
        raise torch.OutOfMemoryError(said)
    assert str(error.value) == (
        "out of memory: 2.00 GiB were needed at once; Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 "
        "GiB of which 1.20 GiB is free.\nLower batch_size."
    )


def test_what_does_not_fit_into_memory_stays_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same trajectories, and the same losses, from a file that is mapped."""
    kept = []
    for free in (2**40, 0):
        monkeypatch.setattr(batches, "free_memory", lambda _, free=free: free)
        kept.append(load_or_compute(untrained_teacher(), "key", (32, 64), CACHE, tmp_path).states)
    assert torch.equal(*kept)
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    assert mapped, "the second one is a view of the file"
    small = torch.arange(10)
    assert resident(small, torch.device("cpu")) is small
    index = (torch.tensor([3, 1]),)
    assert gathered(small, index, torch.device("cpu")).tolist() == [3, 1]


def test_a_gpu_without_bfloat16_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    with pytest.raises(UserError, match="Tesla V100 has no bfloat16 of its own"):
        require_bf16(torch.device("cuda"))
    require_bf16(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    require_bf16(torch.device("cuda"))


def test_trajectories_and_scores_are_computed_without_tf32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounded: list[bool] = []

    def watched(*_: object) -> None:
        rounded.append(torch.backends.cudnn.allow_tf32)

    teacher = untrained_teacher()
    teacher.register_forward_hook(watched)
    load_or_compute(teacher, "key", (32, 64), CACHE, tmp_path)
    write_extractor(tmp_path, None, PixelValues(kind="pixels"), (1, 8, 8))
    extractor = load_extractor(tmp_path, CPU)
    monkeypatch.setattr(pixels, "flat_pixels", lambda images: (watched(), images.flatten(1))[1])
    list(extractor.batches(random_split().images))
    assert len(rounded) == 5 and not any(rounded) and torch.backends.cudnn.allow_tf32
