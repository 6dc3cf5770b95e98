"""EDM's networks and preconditioning: its formulas, its own code's numbers, and its pickles, which run nothing."""

import math
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from sfddm.cli import main
from sfddm.diffusion.levels import alpha_bar
from sfddm.diffusion.prediction import to_input, to_sample, training_target
from sfddm.diffusion.sampler import Sampler
from sfddm.errors import SpecError, UserError
from sfddm.export.export import export
from sfddm.methods.job import distill
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser, build, make_network, time_input, unet_config
from sfddm.networks.size import share
from sfddm.networks.student import first_student
from sfddm.runtime.files import digest_file
from sfddm.spec.parse import structure
from sfddm.spec.parts import FromScratch
from sfddm.spec.read import load_spec, parse_spec
from sfddm.spec.students import Student
from sfddm.spec.teacher import EDMUNet2D, FromTensors, Teacher
from sfddm.teachers.edm import convert
from sfddm.teachers.importing import find_teacher
from sfddm.teachers.inspection import look
from tests.parts import COPY, CPU, EDM_PLAIN, METHODS, TINY, job, only_spec, points, untrained_teacher

PLUS = evolve(EDM_PLAIN, architecture="ncsn++", attention=(False, True), dropout=0.1)
PLAIN = evolve(PLUS, architecture="ddpm++")
ADM = evolve(PLUS, architecture="adm", channels=(8, 64))
ALL = [PLAIN, PLUS, ADM]
PREDICTED = {
    "ddpm++": {
        0.01: (0.500628, -0.456579, -0.147154, 0.492463),
        1.0: (0.256146, -0.253145, -0.115154, 0.203164),
        40.0: (0.042627, -0.060929, -0.057525, -0.013164),
    },
    "ncsn++": {
        0.01: (0.500626, -0.456412, -0.147006, 0.492503),
        1.0: (0.256095, -0.245663, -0.108511, 0.204953),
        40.0: (0.042565, -0.052579, -0.050097, -0.011164),
    },
    "adm": {
        0.01: (0.499425, -0.454215, -0.145997, 0.490576),
        1.0: (0.197801, -0.143527, -0.064381, 0.138727),
        40.0: (-0.019475, 0.061434, -0.00102, -0.06295),
    },
}
"""What NVlabs/edm at 008a4e5 predicts with the weights of `weights`, by sigma: pixels 0, 9, 27 and 63 of cos(0),
cos(1), ... times sqrt(sigma^2 + 1/4)."""


def blocks(adm: bool) -> dict[str, tuple[int, int, str, str]]:
    """EDM's names of the blocks, and their channels in and out; ADM's have two heads."""
    narrow, wide = (32, 128) if adm else (8, 16)
    return {
        "enc.8x8_block0": (narrow, narrow, "", ""),
        "enc.4x4_down": (narrow, narrow, "", "resized"),
        "enc.4x4_block0": (narrow, wide, "attends", ""),
        "dec.4x4_in0": (wide, wide, "attends", ""),
        "dec.4x4_in1": (wide, wide, "", ""),
        "dec.4x4_block0": (2 * wide, wide, "attends" if adm else "", ""),
        "dec.4x4_block1": (wide + narrow, wide, "attends", ""),
        "dec.8x8_up": (wide, wide, "", "resized"),
        "dec.8x8_block0": (wide + narrow, narrow, "", ""),
        "dec.8x8_block1": (2 * narrow, narrow, "", ""),
    }


def shapes(architecture: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a network of 8x8 pixels, by EDM's names."""
    adm = architecture == "adm"
    times, embedded, width = 8 if architecture == "ddpm++" else 16, 64 if adm else 32, 32 if adm else 8
    layers: dict[str, tuple[int, ...]] = {
        "map_layer0": (embedded, times),
        "map_layer1": (embedded, embedded),
        "enc.8x8_conv": (width, 1, 3, 3),
    }
    if architecture == "ncsn++":
        yield "map_noise.freqs", (8,)
        layers["enc.4x4_aux_residual"] = (8, 1, 3, 3)
    for name, (inputs, outputs, attends, resized) in blocks(adm).items():
        told = (outputs * (2 if adm else 1), embedded)
        layers |= {f"{name}.norm0": (inputs,), f"{name}.conv0": (outputs, inputs, 3, 3), f"{name}.norm1": (outputs,),
                   f"{name}.affine": told, f"{name}.conv1": (outputs, outputs, 3, 3)}  # fmt: skip
        if inputs != outputs or (resized and not adm):
            layers[f"{name}.skip"] = (outputs, inputs, 1, 1)
        if attends:
            layers |= {f"{name}.norm2": (outputs,), f"{name}.qkv": (3 * outputs, outputs, 1, 1),
                       f"{name}.proj": (outputs, outputs, 1, 1)}  # fmt: skip
    norm, conv = ("out_norm", "out_conv") if adm else ("dec.8x8_aux_norm", "dec.8x8_aux_conv")
    layers |= {norm: (width,), conv: (1, width, 3, 3)}
    for name, shape in layers.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]


def weights(architecture: str, classes: int = 0) -> dict[str, Tensor]:
    """Waves, a quicker one for each tensor; those for classes are 50 times as high."""
    song = {"map_label.weight": (8, classes), "map_label.bias": (8,)}
    filled, told = {}, ({"map_label.weight": (64, classes)} if architecture == "adm" else song) if classes else {}
    for at, (name, shape) in enumerate(sorted([*shapes(architecture), *told.items()])):
        wave = 0.3 * torch.sin(torch.arange(int(np.prod(shape)), dtype=torch.float64) * (0.7 + at))
        filled[name] = wave.reshape(shape).float() * (50 if name in told else 1)
    return filled


class Part(nn.Module):
    """A module that is pickled as EDM's are: with the source of its class, which its reader would run."""

    def __init__(self, kind: str, **attributes: Any) -> None:
        super().__init__()
        self.kind = kind
        for name, value in attributes.items():
            setattr(self, name, value)

    def __reduce__(self) -> Any:
        rebuild = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj  # type: ignore[attr-defined]
        meta = {"type": "class", "version": 6, "module_src": "raise SystemExit('it ran')", "class_name": self.kind,
                "state": self.__dict__}  # fmt: skip
        return rebuild, (meta,), None


@pytest.fixture
def persistence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module whose function EDM's pickles name."""
    module = ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError(f"{meta} was run")

    _reconstruct_persistent_obj.__module__, _reconstruct_persistent_obj.__qualname__ = (
        module.__name__,
        _reconstruct_persistent_obj.__name__,
    )
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_utils", ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)


def snapshot(path: Path, tensors: dict[str, Tensor], **changes: Any) -> Path:
    """A file as EDM's training writes it."""
    dropout = changes.pop("dropout", 0.1)
    model = Part(
        "DhariwalUNet" if "out_conv.weight" in tensors else "SongUNet",
        enc=nn.ModuleDict(), dec=nn.ModuleDict(), skip_scale=np.sqrt(0.5), label_dropout=0,
    )  # fmt: skip
    for name, tensor in tensors.items():
        *before, last = name.split(".")
        module: nn.Module = model
        for part in before:
            if part not in module._modules:
                module.add_module(part, Part("UNetBlock", dropout=dropout))
            module = module._modules[part]  # type: ignore[assignment]
        if last in ("weight", "bias"):
            module.register_parameter(last, nn.Parameter(tensor))
        else:
            module.register_buffer(last, tensor)
    attributes = {"img_resolution": 8, "img_channels": 1, "label_dim": 0, "sigma_data": 0.5, "sigma_max": float("inf")}
    kind = changes.pop("kind", "EDMPrecond")
    whole = Part(kind, model=model, **{**attributes, **changes})
    path.write_bytes(pickle.dumps({"ema": whole, "loss_fn": Part("EDMLoss"), "augment_pipe": None}))
    return path


def denoiser(path: Path) -> Denoiser:
    seen = look(str(path), "main")
    return seen.found.denoiser(seen.teacher, seen.found.shape)


@pytest.mark.parametrize("architecture", PREDICTED)
@pytest.mark.usefixtures("persistence")
def test_a_snapshot_predicts_what_edms_own_code_does(architecture: str, tmp_path: Path) -> None:
    """To the nearest of the levels, which are 1000: the states are those of the levels."""
    tensors = weights(architecture)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0] if architecture == "ncsn++" else [1.0, 1.0])
    filters = {"enc.4x4_down.conv0.resample_filter": (taps.outer(taps) / taps.sum() ** 2)[None, None]}
    augmentation = {"map_augment.weight": torch.ones(16 if architecture == "ncsn++" else 8, 9)}
    out = tmp_path / "edm.safetensors"
    convert(snapshot(tmp_path / "edm.pkl", {**tensors, **filters, **augmentation}), out)
    teacher = denoiser(out)
    for noise, expected in PREDICTED[architecture].items():
        level = int((teacher.schedule.theta[1:].tan() - noise).abs().argmin()) + 1
        alpha, sigma = (float(each[level]) for each in (teacher.schedule.alpha, teacher.schedule.sigma))
        near = sigma / alpha
        x = torch.cos(torch.arange(64.0)).view(1, 1, 8, 8) * (near**2 + 0.25) ** 0.5
        found = teacher.predict(alpha * x, torch.tensor([level]), torch.tensor([0]))[0].flatten()[[0, 9, 27, 63]]
        # Between two levels of 1000 the noise changes by less than a hundredth.
        assert near == pytest.approx(noise, rel=0.01)
        assert found.tolist() == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("architecture", PREDICTED)
@pytest.mark.usefixtures("persistence")
def test_at_the_very_noise_levels_it_is_the_same_to_the_last_digit(architecture: str, tmp_path: Path) -> None:
    out = tmp_path / "edm.safetensors"
    convert(snapshot(tmp_path / "edm.pkl", weights(architecture)), out)
    network = denoiser(out).network
    for noise, expected in PREDICTED[architecture].items():
        shown = torch.cos(torch.arange(64.0)).view(1, 1, 8, 8)
        output = network(shown, torch.tensor([noise]).log() / 4)[0]
        alpha, sigma = (torch.tensor(each / (1 + noise**2) ** 0.5) for each in (1, noise))
        x = alpha * shown * (noise**2 + 0.25) ** 0.5
        assert torch.allclose(to_input("edm", x, alpha, sigma), shown, atol=1e-6)
        found = to_sample("edm", output, x, alpha, sigma).flatten()[[0, 9, 27, 63]]
        assert found.tolist() == pytest.approx(expected, abs=3e-6)


OF_CLASSES = {
    "ddpm++": [
        (0.25621, -0.253085, -0.11518, 0.203251),
        (0.256141, -0.253141, -0.115147, 0.203214),
        (0.256174, -0.253109, -0.115163, 0.203178),
    ],
    "adm": [
        (0.243311, -0.156244, -0.048374, 0.286327),
        (0.215644, -0.171194, -0.042327, 0.263004),
        (0.182834, -0.231823, -0.068082, 0.217966),
    ],
}
"""What it predicts at sigma = 1 of three classes, whose weights are 50 times as large."""


@pytest.mark.parametrize("architecture", OF_CLASSES)
@pytest.mark.usefixtures("persistence")
def test_a_snapshot_that_is_told_classes_predicts_what_edms_own_code_does(architecture: str, tmp_path: Path) -> None:
    out = tmp_path / "edm.safetensors"
    tensors = weights(architecture, classes=3)
    convert(snapshot(tmp_path / "edm.pkl", tensors, label_dim=3), out)
    seen = look(str(out), "main")
    assert seen.teacher.classes == seen.found.classes == 3
    network = seen.found.network
    shown = torch.cos(torch.arange(64.0)).view(1, 1, 8, 8)
    half = torch.tensor(0.5**0.5)
    for number, expected in enumerate(OF_CLASSES[architecture]):
        output = network(shown, torch.zeros(1), classes=torch.tensor([number]))[0]
        found = to_sample("edm", output, half * shown * 1.25**0.5, half, half).flatten()[[0, 9, 27, 63]]
        assert found.tolist() == pytest.approx(expected, abs=3e-6)


def test_the_preconditioning_is_that_of_the_papers_table() -> None:
    """D = c_skip x + c_out F, and F is what is learned of an image."""
    x0, noise, level = (
        torch.randn(3, 1, 4, 4),
        torch.randn(3, 1, 4, 4),
        torch.tensor([0.01, 0.8, 30.0]).view(-1, 1, 1, 1),
    )
    alpha, sigma = 1 / (1 + level**2).sqrt(), level / (1 + level**2).sqrt()
    noisy = x0 + level * noise
    skip, out = 0.25 / (level**2 + 0.25), level * 0.5 / (level**2 + 0.25).sqrt()
    wanted = (x0 - skip * noisy) / out
    assert torch.allclose(training_target("edm", x0, noise, alpha, sigma), wanted, rtol=1e-4, atol=1e-3)
    output = torch.randn(3, 1, 4, 4)
    assert torch.allclose(to_sample("edm", output, alpha * noisy, alpha, sigma), skip * noisy + out * output, atol=1e-4)
    shown = noisy / (level**2 + 0.25).sqrt()
    assert torch.allclose(to_input("edm", alpha * noisy, alpha, sigma), shown, atol=1e-5)


def test_the_levels_are_the_papers() -> None:
    """Equation 5 with 18 steps, from .002 to 80, and a quarter of their logarithm is what the network is told."""
    left = alpha_bar("edm", 18)[1:]
    levels = np.sqrt((1 - left) / left)
    rising = [(0.002 ** (1 / 7) + step / 17 * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7 for step in range(18)]
    assert levels == pytest.approx(rising)
    assert alpha_bar("edm", 1)[1] == pytest.approx(1 / 6401)
    told = time_input(Contract(timesteps=18, noise_schedule="edm", prediction="edm"))
    assert told.tolist()[1:] == pytest.approx(np.log(rising) / 4, rel=1e-5)
    assert float(told[0]) == pytest.approx(np.log(0.00002) / 4)


@pytest.mark.parametrize("network", ALL)
@pytest.mark.parametrize("name", ["any-step", "distribution"])
def test_its_students_learn_by_methods_that_say_where_a_jump_lands(
    network: EDMUNet2D, name: str, tmp_path: Path
) -> None:
    (tmp_path / "teacher").mkdir()
    storage.write(tmp_path / "teacher", untrained_teacher("edm", network=evolve(network, dropout=0.0)))
    begun = job(tmp_path)
    described: Student = evolve(begun.student, method=METHODS[name])
    (tmp_path / "student").mkdir()
    distill(evolve(begun, student=described)).write(tmp_path / "student")
    made = storage.load(tmp_path / "student", CPU)
    assert made.contract.prediction == "edm" and made.contract.two_times == (name == "any-step")
    assert all(np.isfinite(point["loss"]) for point in points(begun.curve))


@pytest.mark.parametrize("network", ALL)
def test_a_copy_that_is_told_where_to_land_begins_as_its_teacher(network: EDMUNet2D) -> None:
    teacher = untrained_teacher("edm", network=network)
    copy = first_student(teacher, COPY, 0, two_times=True)
    x, level, landing = torch.randn(2, 1, 8, 8), torch.tensor([60, 9]), torch.tensor([20, 0])
    assert torch.equal(copy(x, level, landing).output, teacher(x, level).output)
    with torch.no_grad():
        for parameter in copy.network.class_embedding.linear_2.parameters():
            parameter += 0.1
    assert not torch.equal(copy(x, level, landing).output, copy(x, level, landing - 1 + landing // 20).output)


@pytest.mark.process
@pytest.mark.parametrize(
    ("form", "network"),
    [
        ("torch-export", PLUS),
        *(pytest.param("onnx", each, marks=pytest.mark.prove) for each in ALL),
    ],
)
def test_its_students_are_exported_as_programs(tmp_path: Path, form: str, network: EDMUNet2D) -> None:
    """`export` compares their images itself."""
    student = first_student(untrained_teacher("edm", network=network), COPY, 0, two_times=True)
    (tmp_path / "student").mkdir()
    storage.write(tmp_path / "student", student)
    sampler = Sampler(solver="ddim", levels=(20, 64), clip_sample=True)
    assert export(tmp_path / "student", sampler, tmp_path / "out", form, {}).difference < 1e-4
    with pytest.raises(
        UserError, match="one of EDM's networks, which diffusers doesn't have: use torch-export or onnx"
    ):
        export(tmp_path / "student", sampler, tmp_path / "other", "diffusers", {})


@pytest.mark.parametrize("widths", [(8, 16), (32, 64), (32, 64, 128), (128, 256), (48, 96), (40, 80, 160), (14, 28)])
@pytest.mark.parametrize("base", [8, 14, 32, 128])
@pytest.mark.parametrize("network", [PLUS, ADM])
def test_a_network_that_passes_the_spec_can_be_built_and_no_other(
    network: EDMUNet2D, base: int, widths: tuple[int, ...]
) -> None:
    levels = (False,) * len(widths)
    described = evolve(network, base_channels=base, channels=widths, attention=levels, layers_per_block=2)
    faults = list(described.check((1, 16, 16), ()))
    with torch.device("meta"):
        try:
            make_network(unet_config(described, (1, 16, 16)))(torch.ones(2, 1, 16, 16), torch.ones(2))
        except (ValueError, RuntimeError) as error:
            assert faults, error
        else:
            assert not faults


def test_heads_of_adm_need_their_channels() -> None:
    def found(channels: tuple[int, ...], attention: tuple[bool, ...]) -> list[tuple[Any, str]]:
        described = evolve(ADM, base_channels=32, channels=channels, attention=attention)
        return [(fault.path, fault.message) for fault in described.check((1, 8, 8), ())]

    assert found((32, 64), (False, False)) == found((128, 64), (True, True)) == []
    needed = (
        "attention in 32 channels: adm needs at least 64, and has a head for every 64, which have to share them evenly"
    )
    assert found((32, 64), (True, False)) == [(("channels", 0), needed)]
    assert found((64, 32), (False, False)) == [(("channels", 1), needed)]
    assert found((64, 96), (False, True)) == found((64, 160), (False, True)) == []


def test_a_smaller_network_costs_less_whatever_it_is_told() -> None:
    smaller = evolve(PLUS, channels=(8, 8))
    start = FromScratch(kind="scratch", prediction="same", network=smaller)
    told, untold = (share(start, unet_config(PLUS, (1, 8, 8), classes)) for classes in (3, 0))
    assert 0.3 < untold < 0.9 and told == pytest.approx(untold, abs=0.01)


def test_random_frequencies_need_the_noise_levels_that_edm_tells(tmp_path: Path) -> None:
    """Whole numbers of levels as phases of frequencies of 16 times 2 pi would be a code without neighbours."""
    network = (
        "network: {kind: edm-unet2d, architecture: ncsn++, base_channels: 8, channels: [8, 16], attention: [false, "
        "false], layers_per_block: 1}"
    )
    start, end = TINY.index("    network:\n"), TINY.index("    training: &training")
    text = TINY[:start] + f"    {network}\n" + TINY[end:]
    with pytest.raises(SpecError, match=r"ncsn\+\+ is made for the noise levels that the prediction `edm` tells it"):
        parse_spec(text, "tiny.yaml")
    edm = text.replace("prediction: v\n  source", "prediction: edm\n  source")
    assert parse_spec(edm, "tiny.yaml").teacher.prediction == "edm"
    scratch = "start: {kind: scratch, prediction: v, network: {kind: teacher}}"
    with pytest.raises(SpecError, match=r"use edm \(a student's `same` under such a teacher\)"):
        parse_spec(edm.replace("start: {kind: teacher, prediction: same}", scratch, 1), "tiny.yaml")
    with pytest.raises(SpecError, match="EDM's F can't be read as v"):
        parse_spec(edm.replace("{kind: teacher, prediction: same}", "{kind: teacher, prediction: v}", 1), "tiny.yaml")


def test_first_weights_are_drawn_by_their_seed_and_blocks_begin_by_passing_on() -> None:
    contract = Contract(timesteps=64, noise_schedule="edm", prediction="edm")
    config = unet_config(PLUS, (1, 8, 8))
    first, again, other = (build(config, contract, seed).eval().requires_grad_(False) for seed in (3, 3, 4))
    states = [each.state_dict() for each in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["network.conv_in.weight"], states[2]["network.conv_in.weight"])
    output = first(torch.randn(2, 1, 8, 8), torch.tensor([1, 64])).output
    assert float(output.abs().max()) < 1e-3


def test_first_weights_of_adm_pass_on_alone_and_tell_classes_apart() -> None:
    contract = Contract(timesteps=64, noise_schedule="edm", prediction="edm")
    begun = build(unet_config(ADM, (1, 8, 8), 10), contract, 3)
    zero = {name for name, values in begun.network.named_parameters() if not values.any()}
    ends = (
        "conv2.weight",
        "conv2.bias",
        "attention.out.weight",
        "attention.out.bias",
        "conv_out.weight",
        "conv_out.bias",
    )
    assert {name for name, _ in begun.network.named_parameters() if name.endswith(ends)} == {
        name for name in zero if "norm" not in name
    }
    assert float(begun.network.label_embedding.weight.detach().std()) == pytest.approx(1.0, abs=0.15)
    assert float(begun.network.conv_in.weight.detach().abs().max()) <= 1 / 3
    assert {layer.eps for layer in begun.network.modules() if isinstance(layer, nn.GroupNorm)} == {1e-5}


@pytest.mark.usefixtures("persistence")
def test_the_command_makes_a_teacher_that_a_spec_can_begin_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "project").mkdir()
    only_spec(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "sets"))
    snapshot(tmp_path / "edm.pkl", weights("ncsn++"))
    out = tmp_path / "edm.safetensors"
    for command in (["teacher", "convert", str(tmp_path / "edm.pkl"), str(out)], ["teacher", "inspect", str(out)],
                    ["new", "mine", "--teacher", str(out)]):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["sfddm", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"`sfddm new NAME --teacher {out}`" in printed
    assert "dropout         0.1 when it was trained, 0 in the copy" in printed
    spec = load_spec("mine")
    assert isinstance(spec.teacher.source, FromTensors)
    assert spec.teacher.source.network == PLUS
    assert (spec.teacher.noise_schedule, spec.teacher.prediction, spec.teacher.timesteps) == ("edm", "edm", 1000)
    assert {student.index_set.kind for student in spec.students.values()} == {"uniform-angle"}
    taken = find_teacher(spec.teacher, (1, 8, 8))
    assert torch.equal(taken.network.frequencies, weights("ncsn++")["map_noise.freqs"])


@pytest.mark.usefixtures("persistence")
def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "it ran"), "w")

    class Changes:
        """Asks for a change of the functions that the reader knows."""

        def __reduce__(self) -> Any:
            rebuild = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj  # type: ignore[attr-defined]
            return setattr, (rebuild, "__defaults__", (1,))

    path = snapshot(tmp_path / "edm.pkl", weights("ddpm++"), other=Runs(), more=Changes())
    convert(path, tmp_path / "edm.safetensors")
    assert denoiser(tmp_path / "edm.safetensors").image_shape == (1, 8, 8)
    path.write_bytes(pickle.dumps({"ema": Runs()}))
    with pytest.raises(UserError, match="no network under 'ema'"):
        convert(path, tmp_path / "other.safetensors")
    assert not (tmp_path / "it ran").exists()


def changed(**tensors: Tensor) -> dict[str, Tensor]:
    return {**weights("ddpm++"), **tensors}


WITHOUT = {name: tensor for name, tensor in weights("ddpm++").items() if name != "dec.8x8_up.skip.bias"}
ODD = {**weights("ddpm++"), "dec.8x8_more.weight": torch.ones(3)}


@pytest.mark.parametrize(
    ("tensors", "changes", "words"),
    [
        ({**weights("ddpm++"), "map_label.weight": torch.ones(8, 0)}, {}, "is of another shape"),
        (weights("ddpm++"), {"kind": "VPPrecond"}, "a SongUNet under VPPrecond: expected"),
        (
            {**weights("adm"), "enc.4x4_down.skip.weight": torch.ones(32, 32, 1, 1)},
            {},
            "'down.1.resized.shortcut.weight'",
        ),
        (weights("ddpm++"), {"sigma_data": 1.0}, "with sigma_data 0.5"),
        *((weights("ddpm++"), {"img_resolution": size}, "not known here") for size in (16, -8, "8", math.inf, [8])),
        (changed(**{"enc.4x4_down.conv0.resample_filter": torch.ones(1, 1, 4, 4) / 16}), {}, "is another filter"),
        (changed(**{"dec.4x4_aux_norm.weight": torch.ones(8)}), {}, "two tensors in place of conv_norm_out.weight"),
        (changed(**{"enc.4x4_block0.qkv.weight": torch.ones(47, 16, 1, 1)}), {}, "not known here"),
        (changed(**{"enc.8x8_conv.weight": torch.ones(14, 1, 3, 3)}), {}, "14 channels, .* in 3 groups"),
        (changed(**{"enc.8x8_conv.weight": torch.ones(0, 1, 3, 3)}), {}, "not known here"),
        (WITHOUT, {}, "'up.1.resized.shortcut.bias' .ours. is of another shape"),
        (ODD, {}, "'dec.8x8_more.weight' .ours. is of another shape"),
    ],
)
@pytest.mark.usefixtures("persistence")
def test_other_networks_are_refused(
    tensors: dict[str, Tensor], changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = snapshot(tmp_path / "edm.pkl", tensors, **changes)
    with pytest.raises(UserError, match=words):
        convert(path, tmp_path / "edm.safetensors")
    assert [each.name for each in tmp_path.iterdir()] == ["edm.pkl"]


@pytest.mark.usefixtures("persistence")
@pytest.mark.parametrize("dropout", ["a lot", 5.0, math.nan])
def test_a_dropout_that_no_network_has_is_refused(dropout: Any, tmp_path: Path) -> None:
    path = snapshot(tmp_path / "edm.pkl", weights("ddpm++"), dropout=dropout)
    with pytest.raises(UserError, match="not known here"):
        convert(path, tmp_path / "edm.safetensors")


@pytest.mark.usefixtures("persistence")
def test_a_small_file_does_not_take_much_memory(tmp_path: Path) -> None:
    """One number that claims to be a hundred billion, and a name that doubles forty times."""

    class Vast:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (torch.ones(1)._typed_storage(), 0, (10**11,), (0,), False, {})

    name: Any = "SongUNet"
    for _ in range(40):
        name = [name, name]
    vast = snapshot(tmp_path / "vast.pkl", weights("ddpm++"), other=Vast())
    long = snapshot(tmp_path / "long.pkl", weights("ddpm++"), kind=name)
    for path, words in ((vast, "larger than what is stored of it"), (long, "a SongUNet under : expected")):
        with pytest.raises(UserError, match=words):
            convert(path, tmp_path / "edm.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2]), b"\x80\x04\x82\x01."])
def test_a_file_that_is_none_of_edms_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "edm.pkl").write_bytes(content)
    with pytest.raises(UserError, match=r"edm\.pkl (can't be read as a pickle of tensors|is no network-snapshot)"):
        convert(tmp_path / "edm.pkl", tmp_path / "edm.safetensors")


@pytest.mark.usefixtures("persistence")
def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "edm.pkl", weights("ddpm++"))
    (tmp_path / "edm.safetensors").write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already"):
        convert(path, tmp_path / "edm.safetensors")
    assert (tmp_path / "edm.safetensors").read_bytes() == b"mine"
    with pytest.raises(UserError, match=r"expected the name of a \.safetensors file"):
        convert(path, tmp_path / "edm.pt")


@pytest.mark.usefixtures("persistence")
def test_weights_without_a_description_need_one_in_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of diffusers' networks, too: any whose tensors are in a file."""
    root = tmp_path / "teachers"
    root.mkdir()
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path))
    storage.write(root, untrained_teacher("v"))
    path = (root / "diffusion_pytorch_model.safetensors").rename(root / "plain.safetensors")
    with pytest.raises(UserError, match="says nothing about their network"):
        look(str(path), "main")
    network = {"kind": "unet2d", "channels": [8, 16], "attention": [False, False], "middle_attention": False,
               "head_channels": 8, "layers_per_block": 1, "norm_groups": 4}  # fmt: skip
    source = {"kind": "safetensors", "file": path.name, "sha256": digest_file(path), "network": network}
    described = {"timesteps": 64, "noise_schedule": "cosine", "prediction": "v", "source": source}
    found = find_teacher(structure(described, Teacher), (1, 8, 8))
    wanted = untrained_teacher("v")
    x, level = torch.randn(2, 1, 8, 8), torch.tensor([3, 60])
    assert torch.equal(found(x, level).output, wanted(x, level).output)
    with pytest.raises(UserError, match="has the SHA-256"):
        find_teacher(structure({**described, "source": {**source, "sha256": "0" * 64}}, Teacher), (1, 8, 8))
    with pytest.raises(UserError, match="don't fit the network"):
        wider = {**network, "channels": [8, 24]}
        find_teacher(structure({**described, "source": {**source, "network": wider}}, Teacher), (1, 8, 8))
