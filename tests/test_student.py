"""A student before its first iteration."""

from typing import Any

import pytest
import torch
from attrs import evolve

from sfddm.errors import UserError
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.student import first_student
from sfddm.spec.parts import FromScratch, FromTeacher, TeachersNetwork
from sfddm.spec.teacher import UNet2D
from tests.parts import COPY, PATCHED, SCRATCH, untrained_teacher

SMALLER = UNet2D(
    kind="unet2d",
    channels=(4, 8),
    attention=(False, False),
    middle_attention=False,
    head_channels=4,
    layers_per_block=1,
    norm_groups=4,
)
X = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LEVEL, CLEAN = torch.tensor([1, 30, 60]), torch.zeros(3, dtype=torch.long)


def weights(network: Denoiser) -> dict[str, Any]:
    return dict(network.network.state_dict())


def test_a_copy_is_the_teacher_in_other_tensors() -> None:
    teacher = untrained_teacher()
    student = first_student(teacher, COPY, 0)
    assert student.contract == teacher.contract and student.config == teacher.config
    own, teachers = weights(student), weights(teacher)
    assert own.keys() == teachers.keys()
    assert all(torch.equal(own[name], teachers[name]) for name in own)
    assert not {tensor.data_ptr() for tensor in own.values()} & {tensor.data_ptr() for tensor in teachers.values()}
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_a_copy_told_its_own_index_has_the_levels_in_its_contract() -> None:
    student = first_student(untrained_teacher(), COPY, 0, index_levels=(16, 64))
    assert student.contract == evolve(untrained_teacher().contract, index_levels=(16, 64))
    assert student.time_input[[16, 64]].tolist() == [0, 1]


@pytest.mark.parametrize("prediction", ["v", "epsilon-sample"])
def test_a_student_may_predict_something_else(prediction: Any) -> None:
    teacher = untrained_teacher("epsilon")
    student = first_student(teacher, FromTeacher(kind="teacher", prediction=prediction), 0)
    assert student.contract == evolve(teacher.contract, prediction=prediction)


@pytest.mark.parametrize("network", [None, PATCHED], ids=["plain", "patched"])
def test_two_outputs_start_at_the_teachers_noise_and_no_image(network: UNet2D | None) -> None:
    teacher = untrained_teacher("epsilon", network=network)
    student = first_student(teacher, FromTeacher(kind="teacher", prediction="epsilon-sample"), 0)
    assert student.config == {**teacher.config, "out_channels": 2}
    own = student(X, LEVEL)
    assert torch.equal(own.output[:, :1], teacher(X, LEVEL).output) and not own.output[:, 1:].any()
    alpha, _ = teacher.schedule.at(LEVEL, X)
    # x_0 = alpha x - sigma v with v = alpha noise is alpha^2 times the teacher's image.
    teachers = teacher.predict(X, LEVEL, CLEAN)[0]
    assert torch.allclose(student.sample(own, X, LEVEL), alpha**2 * teachers, atol=1e-4)


def test_an_output_read_as_v_keeps_the_teachers_weights() -> None:
    teacher = untrained_teacher("epsilon")
    student = first_student(teacher, FromTeacher(kind="teacher", prediction="v"), 0)
    assert torch.equal(student.v(student(X, LEVEL), X, LEVEL), teacher(X, LEVEL).output)


def test_a_start_from_scratch_depends_on_its_seed_alone() -> None:
    teacher = untrained_teacher()
    first, again, other = (weights(first_student(teacher, SCRATCH, seed)) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv_in.weight"], other["conv_in.weight"])
    assert not torch.equal(first["conv_in.weight"], weights(teacher)["conv_in.weight"])
    assert first_student(teacher, SCRATCH, 3).config == teacher.config


def test_a_start_from_scratch_may_have_a_smaller_network() -> None:
    teacher = untrained_teacher("epsilon")
    start = FromScratch(kind="scratch", prediction="epsilon-sample", network=SMALLER)
    student = first_student(teacher, start, 0)
    assert student.config["block_out_channels"] == [4, 8] and teacher.config["block_out_channels"] == [8, 16]
    assert student.image_shape == (1, 8, 8) and student(X, LEVEL).output.shape == (3, 2, 8, 8)


@pytest.mark.parametrize("network", [None, PATCHED], ids=["plain", "patched"])
def test_an_any_step_copy_reads_the_second_time_as_the_first_and_adds_nothing(network: UNet2D | None) -> None:
    teacher = untrained_teacher(network=network)
    student = first_student(teacher, COPY, 0, two_times=True)
    assert student.contract == evolve(teacher.contract, two_times=True)
    assert student.config["class_embed_type"] == "timestep"
    own, teachers = weights(student), weights(teacher)
    for part in ("weight", "bias"):
        assert torch.equal(own[f"class_embedding.linear_1.{part}"], teachers[f"time_embedding.linear_1.{part}"])
        assert not own[f"class_embedding.linear_2.{part}"].any()
    assert all(torch.equal(own[name], teachers[name]) for name in teachers)
    output = teacher(X, LEVEL).output
    for landing in (CLEAN, LEVEL - 1):
        assert torch.equal(student(X, LEVEL, landing).output, output)


def test_an_any_step_student_from_scratch_heeds_the_second_time() -> None:
    student = first_student(untrained_teacher(), SCRATCH, 0, two_times=True)
    assert weights(student)["class_embedding.linear_2.weight"].any()
    torch.nn.init.normal_(student.get_parameter("network.conv_out.weight"))
    assert not torch.equal(student(X, LEVEL, CLEAN).output, student(X, LEVEL, LEVEL - 1).output)


def test_a_network_of_another_library_has_no_second_time() -> None:
    teacher = untrained_teacher()
    teacher.network.register_to_config(library="denoising-diffusion-pytorch")
    for start in (COPY, SCRATCH):
        with pytest.raises(UserError, match=r"can't be told where a jump lands.* Give an any-step student a"):
            first_student(teacher, start, 0, two_times=True)
    own = FromScratch(kind="scratch", prediction="v", network=SMALLER)
    assert first_student(teacher, own, 0, two_times=True).contract.two_times


def test_a_teachers_own_network_is_the_one_of_a_start_from_scratch() -> None:
    start = FromScratch(kind="scratch", prediction="v", network=TeachersNetwork(kind="teacher"))
    assert first_student(untrained_teacher("sample"), start, 0).contract.prediction == "v"
