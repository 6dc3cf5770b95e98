"""Exported students, in a process that has never imported this library: the same noise gives the same image."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from diffusers import DiffusionPipeline
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.errors import UserError
from sfddm.export import export as module
from sfddm.export.export import ABOUT, TOLERANCE, export
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import LUCIDRAINS, Denoiser, LucidrainsUNet
from sfddm.networks.layout import weights_digest, write_sampler
from sfddm.networks.student import first_student
from sfddm.spec.parts import FromTeacher
from sfddm.spec.teacher import UNet2D
from tests.parts import PATCHED, untrained_teacher
from tests.project import ROOT
from tests.typed import sfddm

CPU = torch.device("cpu")
LEVELS = (7, 20, 45, 64)
DDIM = Sampler(solver="ddim", levels=LEVELS, clip_sample=True)
BATCHES = (1, 5, 70)
"""Sizes of batches that a program takes. 64 and more are what diffusers treats apart, 2 is what it is traced with."""
STRANGER = """
import sys
from pathlib import Path
import numpy as np

form, root = sys.argv[1:]


def program(folder):
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "student.onnx", providers=["CPUExecutionProvider"])
        return lambda **inputs: session.run(None, inputs)[0]
    import torch

    if form == "torch-export":
        traced = torch.export.load(folder / "student.pt2").module()
        return lambda **inputs: traced(*map(torch.from_numpy, inputs.values())).numpy()
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    assert pipeline(batch_size=2).images[0].size == (8, 8)
    tensors = lambda inputs: {name: torch.from_numpy(array) for name, array in inputs.items()}
    return lambda **inputs: pipeline(**tensors(inputs), output_type="raw").images.numpy()


for folder in sorted(Path(root).glob("out-*")):
    draw = program(folder)
    for path in folder.glob("*.npz"):
        with np.load(path) as given:
            inputs = {name: given[name] for name in ("noise", "step_noise") if given[name].size}
        np.save(path.with_suffix(".npy"), draw(**inputs))
assert not [name for name in sys.modules if name.partition(".")[0] in ("sfddm", "stages")]
"""


def student(prediction: str = "v", network: UNet2D | None = None, **contract: Any) -> Denoiser:
    """A network with random weights under a contract."""
    teacher = untrained_teacher("epsilon" if prediction == "epsilon-sample" else prediction, network=network)
    made = first_student(teacher, FromTeacher(kind="teacher", prediction="same" if prediction != "epsilon-sample" else
                                              prediction), 0, **contract)  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return made.eval().requires_grad_(False)


CASES: dict[str, tuple[Denoiser, Sampler]] = {
    "ddim": (student(), DDIM),
    "one step": (student(), evolve(DDIM, levels=(64,))),
    "two levels of a teacher of noise": (student("epsilon"), evolve(DDIM, levels=(30, 50))),
    "unclipped": (student("sample"), evolve(DDIM, clip_sample=False)),
    "two outputs": (student("epsilon-sample"), DDIM),
    "its own index": (student(index_levels=LEVELS), DDIM),
    "any step": (student(two_times=True), DDIM),
    "two of any steps": (student(two_times=True), evolve(DDIM, levels=(20, 64))),
    "on patches": (student("epsilon-sample", PATCHED, two_times=True), DDIM),
    "dpm-solver": (student(), evolve(DDIM, solver="dpm-solver")),
    "angle-2m": (student(), evolve(DDIM, solver="angle-2m")),
    "unipc": (student(), evolve(DDIM, solver="unipc")),
    "two steps of unipc": (student(), evolve(DDIM, solver="unipc", levels=(20, 64))),
    "two steps of angle-2m": (student(), evolve(DDIM, solver="angle-2m", levels=(20, 64))),
    "ancestral": (student(), evolve(DDIM, solver="ancestral")),
    "two steps of ancestral": (student(), evolve(DDIM, solver="ancestral", levels=(20, 64))),
    "consistency": (student(), evolve(DDIM, solver="consistency")),
    "one step of consistency": (student(), evolve(DDIM, solver="consistency", levels=(64,))),
}
TRACED = ("on patches", "one step", "two outputs", "its own index", "any step", "angle-2m", "unipc", "ancestral")
"""A loop, none, one of its own solver, and every kind of network: tracing takes seconds a step."""
ALWAYS = {"torch-export": ("one step", "two of any steps"), "onnx": ("two steps of ancestral",)}
"""What is traced at every commit: no loop, a loop and one that takes noise."""
REST = {form: tuple(case for case in TRACED if case not in always) for form, always in ALWAYS.items()}


def stored(folder: Path, denoiser: Denoiser, sampler: Sampler) -> Path:
    folder.mkdir(parents=True)
    storage.write(folder, denoiser)
    write_sampler(folder, sampler)
    return folder


def noises(sampler: Sampler, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    steps = (sampler.nfe - 1) * (sampler.solver in ("ancestral", "consistency"))
    return torch.randn(batch, 1, 8, 8, generator=generator), torch.randn(steps, batch, 1, 8, 8, generator=generator)


@pytest.mark.process
@pytest.mark.parametrize(
    ("form", "cases"),
    [
        ("diffusers", tuple(CASES)),
        *ALWAYS.items(),
        *(pytest.param(form, cases, marks=pytest.mark.prove) for form, cases in REST.items()),
    ],
)
def test_the_same_noise_gives_the_same_image_elsewhere(form: str, cases: tuple[str, ...], tmp_path: Path) -> None:
    for number, case in enumerate(cases):
        denoiser, sampler = CASES[case]
        folder = tmp_path / f"out-{number}"
        written = export(stored(tmp_path / f"student-{number}", denoiser, sampler), sampler, folder, form, {})
        assert written.difference <= TOLERANCE
        for batch in BATCHES:
            noise, step_noise = noises(sampler, batch)
            images = sample(denoiser, noise, sampler, iter(step_noise))
            assert images.std() > 0.01, "images differ from each other"
            np.savez(folder / f"{batch}.npz", noise=noise, step_noise=step_noise, wanted=images)
    in_a_stranger(form, tmp_path)
    assert names_no_place(path for path in tmp_path.glob("out-*/**/*") if path.suffix != ".npz")
    for number, case in enumerate(cases):
        for batch in BATCHES:
            folder = tmp_path / f"out-{number}"
            with np.load(folder / f"{batch}.npz") as given:
                apart = np.abs(np.load(folder / f"{batch}.npy") - given["wanted"]).max()
            assert apart <= TOLERANCE, case


def names_no_place(paths: Iterable[Path]) -> bool:
    """Whether nothing of this machine stands in any of these files."""
    content = b"".join(path.read_bytes() for path in paths if path.is_file())
    words = (str(ROOT), sys.prefix, str(Path.home()), "site-packages")
    return len(content) > 1000 and not [word for word in words if word != "/" and word.encode() in content]


def in_a_stranger(form: str, folder: Path) -> None:
    """Draw the images of all exported students in a process that can't import this library."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    command = [sys.executable, "-I", "-c", STRANGER, form, str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_pipeline_of_diffusers_in_half_precision_and_saved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    denoiser, sampler = CASES["ddim"]
    export(stored(tmp_path / "student", denoiser, sampler), sampler, tmp_path / "out", "diffusers", {})
    noise = noises(sampler, 5)[0]
    loaded = DiffusionPipeline.from_pretrained(tmp_path / "out", trust_remote_code=True)
    raw = loaded(noise=noise, output_type="raw").images
    assert torch.equal(raw, sample(denoiser, noise, sampler, iter(())))
    shown = (raw / 2 + 0.5).clamp(0, 1)
    assert torch.equal(loaded(noise=noise, output_type="pt").images, shown)
    assert np.array_equal(loaded(noise=noise, output_type="np").images, shown.permute(0, 2, 3, 1).numpy())
    loaded.save_pretrained(tmp_path / "again")
    again = DiffusionPipeline.from_pretrained(tmp_path / "again", trust_remote_code=True)
    assert torch.equal(again(noise=noise, output_type="raw").images, raw)
    for half in (torch.bfloat16, torch.float16):
        images = again.to(half)(noise=noise, output_type="raw").images
        assert images.dtype == torch.float32 and 0 < (images - raw).abs().max() < 0.1
        assert again(batch_size=2, output_type="pt").images.shape == (2, 1, 8, 8)


@pytest.mark.prove
def test_a_program_does_not_grow_with_its_steps(tmp_path: Path) -> None:
    folder = stored(tmp_path / "student", *CASES["ddim"])
    few, many = (
        export(folder, evolve(DDIM, levels=tuple(range(64 // steps, 65, 64 // steps))), tmp_path / str(steps),
               "torch-export", {}).size for steps in (4, 64)
    )  # fmt: skip
    assert many < few * 1.05


def test_what_makes_other_images_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path / "student", *CASES["ddim"])
    other = evolve(DDIM, levels=(7, 20, 46, 64))
    monkeypatch.setattr(module, "describe", lambda contract, _: describe(contract, other))
    with pytest.raises(UserError, match="makes other images than the student"):
        export(folder, DDIM, tmp_path / "out", "diffusers", {})
    assert {path.name for path in tmp_path.iterdir()} == {"student"}


describe = module.describe


def test_a_network_of_another_library_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = {"library": LUCIDRAINS, "sample_size": [8, 8], "in_channels": 1, "out_channels": 1, "layers_per_block": 2,
              "block_out_channels": [8, 8, 16], "dim": 8, "full_attn": [False, True], "attn_heads": [2, 2],
              "attn_dim_head": [4, 4]}  # fmt: skip
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
    denoiser = Denoiser(LucidrainsUNet(**config), contract).eval().requires_grad_(False)
    folder = stored(tmp_path / "student", denoiser, DDIM)
    with pytest.raises(UserError, match="only those of diffusers and EDM can be exported"):
        export(folder, DDIM, tmp_path / "out", "onnx", {})
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stored(tmp_path / "student", *CASES["any step"])
    assert sfddm(monkeypatch, "export", folder, tmp_path / "a", "--format", "diffusers") == 0
    assert "4 network evaluations per image" in capsys.readouterr().out
    about = json.loads((tmp_path / "a" / ABOUT).read_text())
    assert about["student"]["levels"] == [0, *LEVELS]
    assert about["source"] == "student" and about["weights"] == weights_digest(folder)[:16]
    asked = ("--format", "diffusers", "--levels", "10,64")
    assert sfddm(monkeypatch, "export", folder, tmp_path / "b", *asked) == 0
    assert json.loads((tmp_path / "b" / ABOUT).read_text())["student"]["levels"] == [0, 10, 64]
    capsys.readouterr()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo").write_text("kept")
    for arguments, words in (
        ((folder, tmp_path / "mine", "--format", "onnx"), "give the name of a new folder"),
        ((folder, tmp_path / "c", "--format", "diffusers", "--levels", "10,65"), "above the teacher's noisiest, 64"),
        ((folder, tmp_path / "c", "--format", "pickle"), "Invalid value for '--format'"),
    ):
        assert sfddm(monkeypatch, "export", *arguments) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "mine" / "photo").read_text() == "kept" and not (tmp_path / "c").exists()


def test_onnx_without_its_libraries_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path / "student", *CASES["ddim"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'sfddm\[export\]'"):
        export(folder, DDIM, tmp_path / "out", "onnx", {})
    assert not (tmp_path / "out").exists()
