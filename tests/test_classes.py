"""Networks that are told classes: a class belongs to each noise, and to each image of the data."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DModel
from mlflow.exceptions import MlflowException
from pandas import DataFrame

import sfddm
from sfddm.api import Model
from sfddm.cli import main
from sfddm.data.store import Split
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.diffusion.spacing import finer
from sfddm.errors import SpecError, UserError
from sfddm.evaluation.interpolation import strips
from sfddm.export.export import export
from sfddm.methods.job import distill
from sfddm.methods.sources import batches
from sfddm.methods.trajectories import load_or_compute
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser, build, class_of, unet_config
from sfddm.networks.generation import generate
from sfddm.networks.layout import CONFIG, CONTRACT, COST, write_sampler
from sfddm.networks.student import first_student
from sfddm.runtime.files import read_json, write_json
from sfddm.spec.read import parse_spec
from sfddm.spec.teacher import FromDiffusers, Teacher
from sfddm.teachers.folder import read
from sfddm.teachers.importing import import_teacher
from sfddm.tracking.served import ServedStudent
from sfddm.training.batches import Rows, real_classes, real_images
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from tests.parts import CACHE, COPY, CPU, DATA, EDM_PLAIN, METHODS, SOURCES, TINY, job, task, tiny, with_data

K = 10
"""As many as the digits are."""
DDIM = Sampler(solver="ddim", levels=(16, 32, 48, 64), clip_sample=True)


def conditional(network: Any = EDM_PLAIN, classes: int = K, prediction: str = "v") -> Denoiser:
    """A network of random weights, whose images depend on the class a lot."""
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction=prediction, classes=classes)
    made = build(unet_config(network, (1, 8, 8), classes), contract, 0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in made.named_parameters():
        scale = 1.0 if "label" in name or "class" in name else 0.1
        parameter.data += scale * torch.randn(parameter.shape, generator=generator)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def teacher() -> Denoiser:
    return conditional()


@pytest.fixture
def folder(tmp_path: Path, teacher: Denoiser) -> Path:
    """A folder that has a teacher, from which jobs begin."""
    (tmp_path / "teacher").mkdir()
    storage.write(tmp_path / "teacher", teacher)
    return tmp_path


def test_noises_take_turns_with_classes(teacher: Denoiser) -> None:
    assert class_of(teacher.contract, torch.tensor([0, 9, 10, 23])).tolist() == [0, 9, 0, 3]  # type: ignore[union-attr]
    images = generate(teacher, DDIM, 5, 13, 4, "test")
    each = [generate(teacher, DDIM, 5, 13, 13, "test", of) for of in range(K)]
    for number, image in enumerate(images):
        equal = [of for of in range(K) if np.array_equal(each[of][number], image)]
        assert equal == [number % K]


def test_a_strip_is_of_one_class(teacher: Denoiser) -> None:
    """Its ends are the noises 2p and 2p + 1, which are drawn as class p modulo 10."""
    found = strips(teacher, DDIM, 5, 250)
    for pair in (0, 3, 12):
        ends = generate(teacher, DDIM, 5, 2 * pair + 2, 250, "test", pair % K)[-2:]
        assert np.abs(found[pair][[0, -1]].astype(int) - ends).max() <= 1


def test_a_network_that_shares_all_but_the_labels(teacher: Denoiser) -> None:
    x, level = torch.randn(2, 1, 8, 8), torch.tensor([5, 40])
    told = teacher.given(torch.tensor([1, 2]))
    swapped = teacher.given(torch.tensor([2, 1]))
    assert teacher.labels is None and teacher.given(None) is teacher
    assert not torch.allclose(told(x, level).output, swapped(x, level).output)
    assert torch.equal(told(x, level).features, told(x, level).features)
    assert [id(each) for each in told.parameters()] == [id(each) for each in teacher.parameters()]
    with pytest.raises(AssertionError, match="is evaluated as `given` some"):
        teacher(x, level)


def test_images_come_with_their_own_classes() -> None:
    """Each image is as bright as the number of its class says."""
    labels = np.random.default_rng(0).permutation(np.arange(37) % K)
    images = np.broadcast_to(20 * labels.astype(np.uint8)[:, None, None, None], (37, 1, 8, 8)).copy()
    split = Split(images, labels, flip=False)
    for rows in (Rows(8), Rows(5, 3)):
        draw, classes = real_images(split, rows, CPU), real_classes(split, K, rows, CPU)
        for step in range(9):
            brightness = (draw(3, step)[:, 0, 0, 0] + 1) / 2 * 255
            assert (brightness / 20).round().long().tolist() == classes(3, step).tolist()
    with pytest.raises(UserError, match="told 9 classes, 0 to 8, and the images have the class 9"):
        real_classes(split, 9, Rows(8), CPU)
    with pytest.raises(UserError, match="told 11 classes, 0 to 10, and the images have 10 of them"):
        real_classes(split, 11, Rows(8), CPU)
    with pytest.raises(UserError, match="no classes"):
        real_classes(Split(images, None, flip=False), K, Rows(8), CPU)


def test_trajectories_are_of_the_noises_classes(folder: Path, teacher: Denoiser) -> None:
    kept = load_or_compute(teacher, "digest", (16, 32, 48, 64), CACHE, folder / "cache")
    flat = Sampler(solver=CACHE.solver, levels=(16, 32, 48, 64), clip_sample=True)
    with torch.inference_mode():
        levels = finer((16, 32, 48, 64), CACHE.substeps, "cosine", 64)
        for number in (0, 7, 12):
            told = teacher.given(torch.tensor([number % K]))
            wanted = sample(told, kept.states[-1][[number]], evolve(flat, levels=levels), iter(()))
            assert torch.allclose(kept.states[0][[number]], wanted, atol=1e-4)


def test_batches_of_trajectories_have_the_classes_of_their_noises(folder: Path) -> None:
    given = task(folder)
    kept = given.trajectories(CACHE)
    batch = batches(given)(4, given.teacher)
    assert batch.labels is not None
    for landing, level, label in zip(batch.landing, batch.landing_level, batch.labels, strict=True):
        k = (0, *given.levels).index(int(level))
        number = int((kept.states[k] - landing).abs().flatten(1).sum(1).argmin())
        assert int(label) == number % K


def test_batches_of_several_sources_have_all_classes(folder: Path) -> None:
    given = task(folder, evolve(METHODS["sfddm"], sources=(*SOURCES["mix"][:2], evolve(DATA, share=1.0))))
    batch = batches(given)(4, given.teacher)
    assert batch.labels is not None and batch.labels.shape == batch.level.shape
    assert set(batch.labels.tolist()) <= set(range(K)) and len(set(batch.labels.tolist())) > 5


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_student_that_is_told_classes(folder: Path, name: str) -> None:
    begun = job(folder)
    distill(evolve(begun, student=evolve(begun.student, method=METHODS[name]))).write(_made(folder / name))
    student = storage.load(folder / name, CPU)
    assert student.contract.classes == K
    images = [generate(student, DDIM, 5, 2, 2, "test", of).astype(int) for of in (0, 1)]
    assert np.abs(images[0] - images[1]).max() > 5


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_teacher_learns_which_class_is_which(tmp_path: Path) -> None:
    """Dark images are of class 0 and bright ones of class 1; from pure noise it can only know by what it is told."""
    labels = np.arange(64) % 2
    images = np.broadcast_to((64 + 128 * labels).astype(np.uint8)[:, None, None, None], (64, 1, 8, 8)).copy()
    described = tiny().teacher
    training = evolve(described.source.training, iterations=60, batch_size=32, learning_rate=4e-3)  # type: ignore[union-attr]
    described = evolve(described, classes=2, source=evolve(described.source, training=training))
    with Curve(tmp_path / "curve", "test", 60, 32) as curve:
        split = Split(images, labels, flip=False)
        trained = train_teacher(described, split, CPU, curve, Checkpoints(tmp_path / "checkpoints", {})).network
    assert trained.contract.classes == 2
    x, level = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([64, 64])
    dark, bright = trained.given(torch.tensor([0, 1])).predict(x, level, torch.zeros_like(level))[0].mean((1, 2, 3))
    assert float(dark) < -0.2 and float(bright) > 0.2


def test_a_conditional_network_of_diffusers_draws_what_diffusers_own_sampler_does(tmp_path: Path) -> None:
    """Images within 1e-4 of diffusers' DDIM from the same noises, each of its own class."""
    torch.manual_seed(0)
    config = unet_config(tiny().teacher.source.network, (1, 8, 8))  # type: ignore[union-attr]
    network = UNet2DModel(**config, num_class_embeds=3).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        parameter += (1.0 if name.startswith("class") else 0.05) * torch.randn_like(parameter)
    scheduler = DDIMScheduler(
        1000, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing", prediction_type="v_prediction"
    )
    network.save_pretrained(tmp_path / "theirs" / "unet")
    scheduler.save_pretrained(tmp_path / "theirs" / "scheduler")
    found = read(tmp_path / "theirs", "theirs", None, published=False)
    assert found.classes == 3
    source = FromDiffusers(kind="diffusers", model="theirs", revision="0" * 64)
    described = Teacher(timesteps=1000, noise_schedule="cosine", prediction="v", source=source, classes=3)
    with pytest.raises(UserError, match=r"teacher\.classes: the spec has 0, the teacher 3"):
        found.denoiser(evolve(described, noise_schedule="linear", classes=0), (1, 8, 8))
    ours = found.denoiser(evolve(described, noise_schedule="linear"), (1, 8, 8))
    scheduler.set_timesteps(5)
    noise, labels = torch.randn(3, 1, 8, 8), torch.tensor([2, 0, 1])
    x = noise
    for time in scheduler.timesteps:
        x = scheduler.step(network(x, time, class_labels=labels).sample, time, x).prev_sample
    levels = tuple(sorted(int(time) + 1 for time in scheduler.timesteps))
    drawn = sample(ours.given(labels), noise, Sampler(solver="ddim", levels=levels, clip_sample=False), iter(()))
    assert torch.allclose(drawn, x, atol=1e-4)


def test_diffusers_networks_have_no_place_for_a_class_and_a_landing() -> None:
    teacher = conditional(tiny().teacher.source.network)  # type: ignore[union-attr]
    assert first_student(teacher, COPY, 0).contract.classes == K
    with pytest.raises(UserError, match="have one place for a class and for where a jump lands"):
        first_student(teacher, COPY, 0, two_times=True)


def test_the_class_is_asked_for_at_the_command_line_and_in_programs(
    folder: Path, teacher: Denoiser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sampler(folder / "teacher", DDIM)
    write_json(folder / "teacher" / COST, {})
    model = Model(folder / "teacher")
    wanted = model.sample(4, seed=7, class_label=3)
    assert np.array_equal(wanted, generate(teacher, DDIM, 7, 4, 4, "test", 3))
    assert np.array_equal(model.sample(4, seed=7)[3], wanted[3])
    with pytest.raises(UserError, match="there is no class 10: the network is told 0 to 9"):
        model.sample(1, class_label=10)
    for asked, code in (("3", 0), ("-1", 2)):
        out = folder / f"images{asked}.npz"
        arguments = [
            "sample",
            str(folder / "teacher"),
            "--num",
            "4",
            "--seed",
            "7",
            "--class",
            asked,
            "--out",
            str(out),
        ]
        monkeypatch.setattr(sys, "argv", ["sfddm", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    assert np.array_equal(np.load(folder / "images3.npz")["images"], wanted)
    assert "there is no class -1" in capsys.readouterr().err


def test_the_class_is_asked_for_in_requests(folder: Path, teacher: Denoiser) -> None:
    write_sampler(folder / "teacher", DDIM)
    served = ServedStudent()
    served.load_context(SimpleNamespace(artifacts={"student": str(folder / "teacher")}))

    def ask(**request: int) -> np.ndarray:
        images: np.ndarray = served.predict(None, DataFrame([{"seed": 7, "num": 4, **request}]))
        return images

    assert np.array_equal(ask(class_label=0), generate(teacher, DDIM, 7, 4, 4, "test", 0))
    assert np.array_equal(ask(), generate(teacher, DDIM, 7, 4, 4, "test"))
    with pytest.raises(MlflowException, match="there is no class 10: the network is told 0 to 9"):
        ask(class_label=10)


@pytest.mark.process
def test_an_exported_pipeline_is_told_classes(tmp_path: Path) -> None:
    """And they take turns if it isn't, as the student's do."""
    student = conditional(tiny().teacher.source.network, classes=3)  # type: ignore[union-attr]
    folder = _made(tmp_path / "student")
    storage.write(folder, student)
    write_sampler(folder, DDIM)
    export(folder, DDIM, tmp_path / "out", "diffusers", {})
    loaded = DiffusionPipeline.from_pretrained(tmp_path / "out", trust_remote_code=True)
    noise = torch.randn(4, 1, 8, 8)
    for labels, asked in (([0, 1, 2, 0], None), ([2, 2, 1, 0], [2, 2, 1, 0])):
        images = loaded(noise=noise, class_labels=asked, output_type="raw").images
        wanted = sample(student.given(torch.tensor(labels)), noise, DDIM, iter(()))
        assert torch.allclose(images, wanted, atol=1e-5)
    for asked in ([0, 1], [0, 1, 2, 3]):
        with pytest.raises(ValueError, match="a class for each of 4 images, of 3 classes"):
            loaded(noise=noise, class_labels=asked)
    with pytest.raises(UserError, match="a program of torch-export has no input: export it to diffusers"):
        export(folder, DDIM, tmp_path / "other", "torch-export", {})
    storage.write(_made(tmp_path / "edm"), conditional())
    with pytest.raises(UserError, match="for which no format has a place"):
        export(tmp_path / "edm", DDIM, tmp_path / "other", "diffusers", {})


def test_programs_bring_labels_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher that is trained from arrays, its recipe, and students of noises and of images."""
    monkeypatch.setenv("SFDDM_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    few = evolve(tiny().teacher.source.training, iterations=3, warmup=0)  # type: ignore[union-attr]
    described = evolve(tiny().teacher, classes=2, source=evolve(tiny().teacher.source, training=few))
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8), np.arange(40) % 2
    for wrong, words in ((None, "give `labels`"), (labels[:9], "expected 40 labels"), (labels / 2, "whole numbers")):
        with pytest.raises(UserError, match=words):
            sfddm.train_teacher(images, "teacher", described, labels=wrong)
    teacher = sfddm.train_teacher(images, "teacher", described, labels=labels)
    assert teacher.contract.classes == 2 and teacher.sample(2, class_label=1).shape == (2, 1, 8, 8)
    made = sfddm.recipe(teacher, 4)
    ours = evolve(made, method=evolve(METHODS["sfddm"], sources=SOURCES["trajectory"]))
    assert sfddm.distil(teacher, 4, "student", student=ours).contract.classes == 2
    real = evolve(made, method=evolve(METHODS["sfddm"], sources=SOURCES["data"]))
    with pytest.raises(UserError, match="give the images' `labels`"):
        sfddm.distil(teacher, 4, "real", images, real)
    assert sfddm.distil(teacher, 4, "real", images, real, labels=labels).contract.classes == 2


def test_processes_and_parts_share_the_classes_row_by_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = (*SOURCES["trajectory"], evolve(DATA, share=1.0))
    given = task(
        folder, evolve(METHODS["sfddm"], sources=sources, training=evolve(METHODS["sfddm"].training, batch_size=14))
    )
    whole = batches(given)(4, given.teacher).labels
    assert whole is not None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        own = batches(given)(4, given.teacher).labels
        assert own is not None and own.tolist() == whole[rank::3].tolist()


def test_a_network_without_classes_has_none_to_ask_for() -> None:
    with pytest.raises(UserError, match="there is no class 0: the network is told none"):
        Contract(timesteps=64, noise_schedule="cosine", prediction="v").require_class(0)


def test_what_is_stored_says_how_many(folder: Path) -> None:
    assert read_json(folder / "teacher" / CONTRACT)["classes"] == K
    for name, key in ((CONTRACT, "classes"), (CONFIG, "num_class_embeds")):
        content = read_json(folder / "teacher" / name)
        write_json(folder / "teacher" / name, {**content, key: 9})
        with pytest.raises(UserError, match=r"is not the network that|don't fit the network"):
            storage.load(folder / "teacher", CPU)
        write_json(folder / "teacher" / name, content)
    assert storage.load(folder / "teacher", CPU).contract.classes == K


def test_a_spec_needs_images_with_classes(tmp_path: Path) -> None:
    told = TINY.replace("  prediction: v\n", "  prediction: v\n  classes: 10\n")
    assert parse_spec(told, "tiny.yaml").teacher.classes == 10
    unlabelled = (
        "{kind: folder, path: mine, channels: 1, crop: center, size: 8, flip: false, labels: none, held_out: 400, "
        "split_seed: 0, corrupt: refuse}"
    )
    text = with_data(unlabelled).replace("  prediction: v\n", "  prediction: v\n  classes: 10\n")
    with pytest.raises(SpecError, match="the network is told classes, and folder has none here"):
        parse_spec(text, "tiny.yaml")
    with pytest.raises(SpecError, match="expected 10, the classes of digits"):
        parse_spec(told.replace("classes: 10", "classes: 9"), "tiny.yaml")
    distribution = told.replace(
        "        - {kind: feature",
        "        - {kind: distribution, weight: 1.0, begin: 0.25, ramp: 0.1, learning_rate: 1.0e-4, average: 0.9}\n"
        "        - {kind: feature",
        1,
    )
    with pytest.raises(
        SpecError, match="the fake of several steps is told where its jumps land, and diffusers' networks"
    ):
        parse_spec(distribution, "tiny.yaml")
    parse_spec(distribution.replace("  classes: 10\n", ""), "tiny.yaml")
    source = FromDiffusers(kind="diffusers", model="theirs", revision="0" * 64)
    described = Teacher(timesteps=1000, noise_schedule="linear", prediction="v", source=source, classes=3)
    images = np.zeros((8, 1, 8, 8), dtype=np.uint8)
    for labels, words in (
        (None, "the images have none"),
        (np.arange(8), "have the class 7"),
        (np.arange(2), "2 of them"),
    ):
        with pytest.raises(UserError, match=words):
            import_teacher(described, images, CPU, labels)
