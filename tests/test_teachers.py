"""Teachers that others trained: read from their files, held against the spec, and tried on real images."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from attrs import evolve
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UNet2DModel,
)
from PIL import Image

from sfddm.cli import main
from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.diffusion.levels import ScheduleName, alpha_bar
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.diffusion.spacing import resolve
from sfddm.errors import SpecError, UserError
from sfddm.methods.job import distill
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser, LucidrainsUNet
from sfddm.networks.generation import generate
from sfddm.networks.layout import WEIGHTS
from sfddm.networks.student import first_student
from sfddm.runtime.files import digest_file
from sfddm.spec.index_set import UniformAngle
from sfddm.spec.parse import structure, unstructure
from sfddm.spec.parts import FromTeacher
from sfddm.spec.read import load_spec, parse_spec
from sfddm.spec.students import SFDDM
from sfddm.spec.teacher import FromCheckpoint, FromDiffusers, OwnBetas, Teacher
from sfddm.teachers.candidate import recognised
from sfddm.teachers.denoising import require_denoising
from sfddm.teachers.importing import import_teacher
from sfddm.teachers.inspection import look
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from tests.parts import TINY, job, only_spec, tiny

CPU = torch.device("cpu")
T = 1000
MODEL = "someone/ddpm-digits-8"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LINEAR = {"num_train_timesteps": T, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("data")
    prepare(tiny().data, folder)
    return store.read(folder, "train").images


@pytest.fixture(scope="module")
def trained(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    """A teacher of digits that is good enough to denoise: linear, T = 1000, epsilon."""
    teacher = described(FromDiffusers(kind="diffusers", model="x", revision="0" * 64))
    source = tiny().teacher.source
    settings = evolve(source.training, iterations=200, batch_size=32, learning_rate=4e-3, average=0.9)
    return fit(evolve(teacher, source=evolve(source, training=settings)), images, tmp_path_factory.mktemp("training"))


def fit(teacher: Teacher, images: np.ndarray, folder: Path) -> Denoiser:
    training = teacher.source.training
    with Curve(folder / "curve", "test", training.iterations, training.batch_size) as curve:
        split = store.Split(images=images, labels=None, flip=False)
        return train_teacher(teacher, split, CPU, curve, Checkpoints(folder / "checkpoints", {})).network


@pytest.fixture(scope="module")
def theirs(images: np.ndarray) -> Any:
    """The library's own network and diffusion, trained a little by its own loss."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    torch.manual_seed(0)
    unet = Unet(dim=8, dim_mults=(1, 2), channels=1, attn_heads=2, attn_dim_head=4, full_attn=(False, True))
    diffusion = GaussianDiffusion(unet, image_size=8, timesteps=T, objective="pred_v", beta_schedule="cosine")
    optimizer = torch.optim.Adam(diffusion.parameters(), 4e-3)
    pixels = torch.from_numpy(images.astype(np.float32)) / 255
    for step in range(150):
        loss = diffusion(pixels[(64 * step) % 1400 :][:64])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return diffusion.eval()


def described(source: Any, schedule: Any = "linear", timesteps: int = T, prediction: str = "epsilon") -> Teacher:
    return Teacher(timesteps=timesteps, noise_schedule=schedule, prediction=prediction, source=source)


def save(network: UNet2DModel, folder: Path, **scheduler: Any) -> Path:
    """A folder as diffusers' own pipeline writes it."""
    DDPMPipeline(unet=network, scheduler=DDPMScheduler(**{**LINEAR, **scheduler})).save_pretrained(folder)
    return folder


def flat(folder: Path) -> None:
    """All files in one folder, as the oldest models on the hub have them."""
    for part in ("unet", "scheduler"):
        for file in (folder / part).iterdir():
            file.rename(folder / file.name)
        (folder / part).rmdir()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of teachers."""
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "sets"))
    (tmp_path / "sets" / "teachers").mkdir(parents=True)
    return tmp_path / "sets" / "teachers"


def from_folder(name: str, root: Path) -> FromDiffusers:
    weights = next(path for path in (root / name).rglob(WEIGHTS))
    return FromDiffusers(kind="diffusers", model=name, revision=digest_file(weights))


def test_a_folder_of_diffusers_is_taken_over_as_it_is(trained: Denoiser, images: np.ndarray, root: Path) -> None:
    save(trained.network, root / "digits")
    teacher, source = import_teacher(described(from_folder("digits", root)), images, CPU)
    x, level = torch.randn(3, 1, 8, 8), torch.tensor([1, 500, T])
    assert torch.equal(teacher(x, level).output, trained(x, level).output)
    assert teacher.contract == Contract(timesteps=T, noise_schedule="linear", prediction="epsilon")
    assert source["origin"] == "digits" and 0 < source["denoising"]["linear"] < 1
    (root / "stored").mkdir()
    storage.write(root / "stored", teacher)
    assert torch.equal(storage.load(root / "stored", CPU)(x, level).output, trained(x, level).output)


def test_a_teacher_that_was_trained_with_dropout_is_taken_over_without(
    trained: Denoiser, images: np.ndarray, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = UNet2DModel(**{**trained.config, "dropout": 0.1})
    network.load_state_dict(trained.network.state_dict())
    save(network, root / "digits")
    assert json.loads((root / "digits/unet/config.json").read_text())["dropout"] == 0.1
    teacher, _ = import_teacher(described(from_folder("digits", root)), images, CPU)
    assert "digits was trained with dropout 0.1: its copy, and every student" in capsys.readouterr().err
    (root / "stored").mkdir()
    storage.write(root / "stored", teacher)
    assert json.loads((root / "stored/config.json").read_text())["dropout"] == 0.0
    student = first_student(storage.load(root / "stored", CPU), FromTeacher(kind="teacher", prediction="same"), 0)
    x, level = torch.randn(3, 1, 8, 8), torch.tensor([1, 500, T])
    before = torch.get_rng_state()
    assert torch.equal(student.train()(x, level).output, trained(x, level).output)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_teacher_without_dropout_is_taken_over_without_a_word(
    trained: Denoiser, images: np.ndarray, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(trained.network, root / "digits")
    import_teacher(described(from_folder("digits", root)), images, CPU)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("dropout", ["a tenth", -0.1, 1.0, [0.1]])
def test_a_dropout_that_is_no_share_is_refused(
    trained: Denoiser, images: np.ndarray, root: Path, dropout: object
) -> None:
    path = save(trained.network, root / "digits") / "unet/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dropout": dropout}))
    with pytest.raises(UserError, match=r"config\.json: its dropout is .*: expected a number from 0 to 1"):
        import_teacher(described(from_folder("digits", root)), images, CPU)


def test_all_files_in_one_folder_and_old_names_of_attention_are_understood(
    images: np.ndarray, trained: Denoiser, root: Path
) -> None:
    config = {**trained.config, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "sample_size": 8}
    network = UNet2DModel(**config)
    save(network, root / "old")
    flat(root / "old")
    path = root / "old" / WEIGHTS
    from safetensors.torch import load_file, save_file

    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(path)
    for name in list(tensors):
        for now, then in new.items():
            if f".attentions.0.{now}." in name:
                tensors[name.replace(now, then)] = tensors.pop(name)
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, path)
    from sfddm.teachers.folder import read

    found = read(root / "old", "old", None, published=False)
    assert found.shape == (1, 8, 8) and found.noise_schedule == "linear" and found.prediction == "epsilon"
    x, time = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    assert torch.equal(found.network(x, time).sample, network(x, time).sample)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"schedule": "cosine"}, "teacher.noise_schedule: the spec has cosine, the teacher linear"),
        ({"timesteps": 1024}, "teacher.timesteps: the spec has 1024, the teacher 1000"),
        ({"prediction": "v"}, "teacher.prediction: the spec has v, the teacher epsilon"),
    ],
)
def test_what_the_scheduler_says_is_held_against_the_spec(
    stated: dict[str, Any], words: str, trained: Denoiser, images: np.ndarray, root: Path
) -> None:
    save(trained.network, root / "digits")
    with pytest.raises(UserError) as caught:
        import_teacher(described(from_folder("digits", root), **stated), images, CPU)
    assert words in str(caught.value)


def test_another_size_of_images_is_refused(trained: Denoiser, images: np.ndarray, root: Path) -> None:
    save(trained.network, root / "digits")
    with pytest.raises(UserError, match="the data's shape: the spec has 3x8x8, the teacher 1x8x8"):
        import_teacher(described(from_folder("digits", root)), images.repeat(3, axis=1), CPU)


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ({"beta_schedule": "scaled_linear", "beta_end": 0.03}, "scaled-linear (0.0001 to 0.03)"),
        (
            {"beta_end": 0.03, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
            "linear (0.0001 to 0.03, zero terminal SNR)",
        ),
        ({"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True}, "squaredcos_cap_v2 (0.0001 to 0.02, "),
    ],
)
def test_another_schedule_than_the_specs_is_shown(
    own: dict[str, Any], shown: str, trained: Denoiser, images: np.ndarray, root: Path
) -> None:
    save(trained.network, root / "digits", **own)
    with pytest.raises(UserError) as caught:
        import_teacher(described(from_folder("digits", root)), images, CPU)
    assert f"the spec has linear, the teacher {shown}" in str(caught.value)


@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("kind", ["linear", "scaled-linear"])
@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler])
def test_betas_of_a_scheduler_are_recognised(scheduler: Any, kind: str, rescaled: bool) -> None:
    """DPM-Solver leaves 2^-24 where others leave nothing."""
    betas = OwnBetas(kind="betas", beta_schedule=kind, beta_start=0.0015, beta_end=0.0195, zero_terminal_snr=rescaled)
    ends = {"beta_start": 0.0015, "beta_end": 0.0195, "rescale_betas_zero_snr": rescaled}
    theirs = scheduler(T, beta_schedule=kind.replace("-", "_"), **ends).alphas_cumprod.double().numpy()
    assert recognised(theirs, betas) == betas
    assert recognised(theirs, evolve(betas, zero_terminal_snr=not rescaled)) is None
    assert recognised(theirs, evolve(betas, beta_end=0.0197)) is None


def test_a_schedule_may_be_told_by_its_betas_or_by_its_name(trained: Denoiser, images: np.ndarray, root: Path) -> None:
    save(trained.network, root / "digits")
    betas = OwnBetas(kind="betas", beta_schedule="linear", beta_start=1e-4, beta_end=0.02, zero_terminal_snr=False)
    teacher, source = import_teacher(described(from_folder("digits", root), betas), images, CPU)
    assert teacher.contract.noise_schedule == betas
    assert 0 < source["denoising"]["linear (0.0001 to 0.02)"] < 1


@pytest.mark.parametrize("rescaled", [False, True])
def test_a_teacher_of_its_own_betas_draws_what_diffusers_own_sampler_does(
    rescaled: bool, trained: Denoiser, root: Path
) -> None:
    """Images within 1e-4 of diffusers' DDIM from the same noises; a spec of it can be written and read again."""
    scheduler = DDIMScheduler(
        T, 0.0015, 0.0195, "scaled_linear", clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing",
        prediction_type="v_prediction", rescale_betas_zero_snr=rescaled,
    )  # fmt: skip
    trained.network.save_pretrained(root / "theirs" / "unet")
    scheduler.save_pretrained(root / "theirs" / "scheduler")
    seen = look("theirs", "main")
    described = parse_spec(seen.starter("mine"), "mine.yaml").teacher
    assert described.noise_schedule == OwnBetas(
        kind="betas", beta_schedule="scaled-linear", beta_start=0.0015, beta_end=0.0195, zero_terminal_snr=rescaled
    )
    ours = seen.found.denoiser(described, (1, 8, 8))
    storage.write(root, ours)
    ours = storage.load(root, CPU)  # the contract has betas, too
    scheduler.set_timesteps(5)
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x = noise
    with torch.no_grad():
        for time in scheduler.timesteps:
            x = scheduler.step(trained.network(x, time).sample, time, x).prev_sample
    levels = tuple(sorted(int(time) + 1 for time in scheduler.timesteps))
    assert torch.allclose(draw(ours, noise, "ddim", levels), x, atol=1e-4)


@pytest.mark.parametrize("solver", ["ddim", "dpm-solver", "unipc", "angle-2m", "ancestral"])
def test_every_solver_begins_where_nothing_is_left_of_the_image(solver: str, trained: Denoiser) -> None:
    betas = OwnBetas(kind="betas", beta_schedule="linear", beta_start=1e-4, beta_end=0.02, zero_terminal_snr=True)
    own = Denoiser(trained.network, Contract(timesteps=T, noise_schedule=betas, prediction="v"))
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    levels = resolve(UniformAngle(kind="uniform-angle", steps=6), betas, T)
    drawn = draw(own, noise, solver, levels)
    assert bool(drawn.isfinite().all()) and float(drawn.abs().max()) < 20


def draw(denoiser: Denoiser, noise: torch.Tensor, solver: Any, levels: tuple[int, ...]) -> torch.Tensor:
    sampler = Sampler(solver=solver, levels=levels, clip_sample=False)
    with torch.no_grad():
        return sample(denoiser, noise, sampler, iter([torch.zeros_like(noise)] * 10))


@pytest.mark.parametrize("kind", get_args(ScheduleName))
@pytest.mark.parametrize("timesteps", [16, 1000, 4000])
def test_a_schedule_is_recognised_from_its_numbers_in_float32(kind: str, timesteps: int) -> None:
    ours = alpha_bar(kind, timesteps)[1:]
    assert recognised(ours) == recognised(ours.astype(np.float32).astype(np.float64)) == kind
    assert recognised(ours * 0.9) is None and recognised(np.append(ours[:-1], 0.0)) is None
    betas = {"linear": (0.1, 20), "scaled-linear": (0.85, 12)}.get(kind)
    name = {"cosine": "squaredcos_cap_v2"}.get(kind, kind.replace("-", "_"))
    if kind not in ("sigmoid", "edm") and timesteps >= 1000:
        ends = {"beta_start": betas[0] / timesteps, "beta_end": betas[1] / timesteps} if betas else {}
        theirs = DDPMScheduler(timesteps, beta_schedule=name, **ends).alphas_cumprod
        assert recognised(np.asarray(theirs, dtype=np.float64)) == kind


def test_a_wrong_schedule_is_caught_by_denoising(trained: Denoiser, images: np.ndarray, root: Path) -> None:
    save(trained.network, root / "digits", beta_schedule="squaredcos_cap_v2")
    with pytest.raises(UserError, match="better as if its noise schedule were linear"):
        import_teacher(described(from_folder("digits", root), "cosine"), images, CPU)


@pytest.mark.heavy
def test_a_wrong_schedule_is_named_where_the_teacher_still_beats_a_guess(
    theirs: Any, images: np.ndarray, root: Path
) -> None:
    teacher, _ = import_teacher(cosine(write(theirs, root / "model-9.pt")), images, CPU)
    wrong = Denoiser(teacher.network, evolve(teacher.contract, noise_schedule="linear")).eval()
    with pytest.raises(UserError, match=r"better as if its noise schedule were (cosine|sigmoid)"):
        require_denoising(wrong, images, "it")


def test_a_wrong_range_is_caught_by_denoising(trained: Denoiser, images: np.ndarray, tmp_path: Path) -> None:
    errors = require_denoising(trained, images, "it")
    assert errors["linear"] < 0.9 and errors["linear"] == min(errors.values())
    with pytest.raises(UserError, match=r"does not denoise this data: .*\[-1, 1\]"):
        require_denoising(trained, images // 2 + 128, "it")  # what a range of [0, 1] would look like to it


def test_a_wrong_prediction_is_caught_by_denoising(trained: Denoiser, images: np.ndarray, root: Path) -> None:
    save(trained.network, root / "digits", prediction_type="v_prediction")
    with pytest.raises(UserError, match="does not denoise"):
        import_teacher(described(from_folder("digits", root), prediction="v"), images, CPU)


def test_a_teacher_of_noise_becomes_a_student_of_two_outputs(
    trained: Denoiser, images: np.ndarray, root: Path, tmp_path: Path
) -> None:
    save(trained.network, root / "digits")
    teacher, _ = import_teacher(described(from_folder("digits", root)), images, CPU)
    start = FromTeacher(kind="teacher", prediction="epsilon-sample")
    settings = evolve(tiny().students["ours-t4"].method.training, iterations=2)
    made = job(tmp_path, start=start, training=settings)
    storage.write(tmp_path / "teacher", teacher)
    levels = resolve(UniformAngle(kind="uniform-angle", steps=4), "linear", T)
    distilled = distill(evolve(made, levels=levels))
    (tmp_path / "student").mkdir()
    distilled.write(tmp_path / "student")
    student = storage.load(tmp_path / "student", CPU)
    assert student.contract == Contract(timesteps=T, noise_schedule="linear", prediction="epsilon-sample")
    drawn = generate(student, distilled.sampler, 0, 8, 8, "test")
    assert drawn.shape == (8, 1, 8, 8) and drawn.std() > 10


# The Hugging Face hub: no network here, a cache in its own layout.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def fill(cache: Path, network: UNet2DModel, safe: bool = True) -> Path:
    repository = cache / f"models--{MODEL.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    folder = save(network, repository / "snapshots" / COMMIT)
    flat(folder)
    if not safe:
        torch.save(network.state_dict(), folder / "diffusion_pytorch_model.bin")
        (folder / WEIGHTS).unlink()
    return folder


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_model_in_the_hubs_cache_needs_no_network(
    revision: str, cache: Path, trained: Denoiser, images: np.ndarray
) -> None:
    fill(cache, trained.network)
    source = FromDiffusers(kind="diffusers", model=MODEL, revision=revision)
    teacher, said = import_teacher(described(source), images, CPU)
    x, level = torch.randn(3, 1, 8, 8), torch.tensor([1, 500, T])
    assert torch.equal(teacher(x, level).output, trained(x, level).output)
    assert said["pinned"] == COMMIT


def test_a_model_that_is_not_there_names_the_cache_and_the_command(cache: Path, images: np.ndarray) -> None:
    source = FromDiffusers(kind="diffusers", model="google/ddpm-cifar10-23", revision="main")
    with pytest.raises(UserError) as caught:
        import_teacher(described(source), images, CPU)
    words = (str(cache), "hf download google/ddpm-cifar10-23 --revision main", "can't be reached")
    assert all(word in str(caught.value) for word in words)


def test_an_incomplete_cache_says_which_file_is_missing(cache: Path, trained: Denoiser, images: np.ndarray) -> None:
    folder = fill(cache, trained.network)
    (folder / WEIGHTS).unlink()
    source = FromDiffusers(kind="diffusers", model=MODEL, revision=COMMIT)
    with pytest.raises(UserError, match=f"{MODEL}.*{WEIGHTS}|hf download {MODEL}"):
        import_teacher(described(source), images, CPU)


def test_a_pickle_on_the_hub_is_read_from_a_commit_alone(cache: Path, trained: Denoiser, images: np.ndarray) -> None:
    folder = fill(cache, trained.network, safe=False)
    source = FromDiffusers(kind="diffusers", model=MODEL, revision="main")
    with pytest.raises(UserError, match=f"give the spec `revision: {COMMIT}`"):
        import_teacher(described(source), images, CPU)
    teacher, _ = import_teacher(described(evolve(source, revision=COMMIT)), images, CPU)
    x, level = torch.randn(3, 1, 8, 8), torch.tensor([1, 500, T])
    assert torch.equal(teacher(x, level).output, trained(x, level).output)
    planted = folder / "planted"
    torch.save({"conv_in.weight": Planted(planted)}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="contains more than tensors"):
        import_teacher(described(evolve(source, revision=COMMIT)), images, CPU)
    assert not planted.exists()


class Planted:
    """What a pickle would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_pickle_in_a_folder_is_refused_with_the_command_that_converts_it(
    trained: Denoiser, images: np.ndarray, root: Path
) -> None:
    folder = save(trained.network, root / "digits") / "unet"
    source = from_folder("digits", root)
    torch.save(trained.network.state_dict(), folder / "diffusion_pytorch_model.bin")
    shutil.copy(folder / "diffusion_pytorch_model.bin", folder / WEIGHTS)
    with pytest.raises(UserError, match=r"can't be read as safetensors(.|\n)*never loaded"):
        import_teacher(described(source), images, CPU)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"pickle where safetensors are expected(.|\n)*safe_serialization=True"):
        import_teacher(described(source), images, CPU)


def test_weights_that_were_changed_in_a_folder_are_noticed(trained: Denoiser, images: np.ndarray, root: Path) -> None:
    save(trained.network, root / "digits")
    source = FromDiffusers(kind="diffusers", model="digits", revision="0" * 64)
    with pytest.raises(UserError, match=f"have the SHA-256 [0-9a-f]+, and the spec's revision is {'0' * 64}"):
        import_teacher(described(source), images, CPU)
    with pytest.raises(UserError, match=r"teachers/digit is missing.*SFDDM_DATA_ROOT"):
        import_teacher(described(evolve(source, model="digit")), images, CPU)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("unet/config.json", {"class_embed_type": "timestep"}, "class embedding timestep"),
        ("unet/config.json", {"out_channels": 2}, "as many channels out as in"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "describes a UNet2DConditionModel"),
        ("unet/config.json", {"block_out_channels": [8, 32]}, "don't fit the network"),
        ("unet/config.json", {"down_block_types": ["A", "B"]}, "describes no network"),
        ("scheduler/scheduler_config.json", {"_class_name": "KarrasVeScheduler"}, "no discrete noise levels|no sched"),
        ("scheduler/scheduler_config.json", {"_class_name": "os"}, "describes no scheduler"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "lin"}, "describes no scheduler"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "predicts 'flow'"),
    ],
)  # fmt: skip
def test_what_is_no_teacher_of_ours_is_refused(
    file: str, change: dict[str, Any], words: str, trained: Denoiser, images: np.ndarray, root: Path
) -> None:
    path = save(trained.network, root / "digits") / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=words):
        import_teacher(described(from_folder("digits", root)), images, CPU)


def test_another_scheduler_of_the_same_levels_does_as_well(trained: Denoiser, images: np.ndarray, root: Path) -> None:
    save(trained.network, root / "digits")
    shutil.rmtree(root / "digits" / "scheduler")
    EulerDiscreteScheduler(**LINEAR).save_pretrained(root / "digits" / "scheduler")
    assert import_teacher(described(from_folder("digits", root)), images, CPU)[0].contract.timesteps == T


# Checkpoints of denoising-diffusion-pytorch.


def write(diffusion: Any, path: Path) -> FromCheckpoint:
    """As the library's Trainer saves it."""
    from ema_pytorch import EMA

    ema = EMA(diffusion, beta=0.9, update_every=1)
    ema.update()
    content = {"step": 3, "model": diffusion.state_dict(), "opt": {}, "ema": ema.state_dict(), "scaler": None,
               "version": "2"}  # fmt: skip
    torch.save(content, path)
    return FromCheckpoint(kind="checkpoint", file=path.name, sha256=digest_file(path), weights="ema")


def cosine(source: FromCheckpoint) -> Teacher:
    return described(source, "cosine", T, "v")


@pytest.mark.heavy
def test_a_checkpoint_of_the_authors_library_is_taken_over(theirs: Any, images: np.ndarray, root: Path) -> None:
    source = write(theirs, root / "model-9.pt")
    for weights in ("ema", "last"):
        teacher, said = import_teacher(cosine(evolve(source, weights=weights)), images, CPU)
        x, level = torch.randn(3, 1, 8, 8), torch.tensor([1, 500, T])
        with torch.no_grad():
            assert torch.equal(teacher(x, level).output, theirs.model(x, level - 1))
        assert said["denoising"]["cosine"] < 1
    assert teacher(x, level).features.shape == (3, 8, 8, 8)
    (root / "stored").mkdir()
    storage.write(root / "stored", teacher)
    again = storage.load(root / "stored", CPU)
    assert torch.equal(again(x, level).output, teacher(x, level).output)
    for prediction, channels in (("same", 1), ("epsilon-sample", 2)):
        contract = evolve(again.contract, prediction="epsilon") if channels == 2 else again.contract
        teacher = Denoiser(again.network, contract)
        student = first_student(teacher, FromTeacher(kind="teacher", prediction=prediction), 0)
        output = student.eval()(x, level).output
        assert output.shape == (3, channels, 8, 8) and torch.equal(output[:, :1], again(x, level).output)
    with pytest.raises(UserError, match="network of its own"):
        first_student(teacher, FromTeacher(kind="teacher", prediction="same"), 0, two_times=True)


@pytest.mark.parametrize("objective", ["pred_noise", "pred_x0", "pred_v"])
@pytest.mark.parametrize("clipped", [False, True])
def test_a_checkpoint_tells_what_it_predicts(objective: str, clipped: bool, root: Path) -> None:
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    from sfddm.teachers.lucidrains import read

    unet = Unet(dim=8, init_dim=12, dim_mults=(1, 2, 4), channels=3, attn_heads=(1, 2, 3), attn_dim_head=(2, 3, 4))
    diffusion = GaussianDiffusion(
        unet, image_size=16, timesteps=50, objective=objective, beta_schedule="sigmoid", min_snr_loss_weight=clipped
    )
    torch.save(diffusion.state_dict(), root / "bare.pt")
    found = read(root / "bare.pt", None, "last", (16, 16))
    assert found.prediction == {"pred_noise": "epsilon", "pred_x0": "sample", "pred_v": "v"}[objective]
    assert (found.noise_schedule, found.timesteps, found.shape) == ("sigmoid", 50, (3, 16, 16))
    x, time = torch.randn(2, 3, 16, 16), torch.tensor([3, 40])
    assert torch.equal(found.network.eval()(x, time)[0], diffusion.model.eval()(x, time))
    with pytest.raises(UserError, match="no moving average: say `weights: last`"):
        read(root / "bare.pt", None, "ema", (16, 16))


@pytest.mark.heavy
def test_checkpoints_that_are_not_what_the_spec_means_are_refused(theirs: Any, images: np.ndarray, root: Path) -> None:
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    source = write(theirs, root / "model-9.pt")
    with pytest.raises(UserError, match="Nothing of it was loaded"):
        import_teacher(cosine(evolve(source, sha256="0" * 64)), images, CPU)
    with pytest.raises(UserError, match="the spec has linear, the teacher cosine"):
        import_teacher(described(source, "linear", T, "v"), images, CPU)
    with pytest.raises(UserError, match=r"model-8.pt is missing"):
        import_teacher(cosine(evolve(source, file="model-8.pt")), images, CPU)
    unet = Unet(dim=8, dim_mults=(1, 2), channels=1, self_condition=True)
    write(GaussianDiffusion(unet, image_size=8, timesteps=T, beta_schedule="cosine"), root / "self.pt")
    self = evolve(source, file="self.pt", sha256=digest_file(root / "self.pt"))
    with pytest.raises(UserError, match="without self-conditioning"):
        import_teacher(cosine(self), images, CPU)
    for content, words in (({"a": torch.zeros(1)}, "is not a checkpoint of denoising-diffusion-pytorch"),
                           ({"a": Planted(root / "planted")}, "contains more than tensors")):  # fmt: skip
        torch.save(content, root / "other.pt")
        other = evolve(source, file="other.pt", sha256=digest_file(root / "other.pt"))
        with pytest.raises(UserError, match=words):
            import_teacher(cosine(evolve(other, weights="last")), images, CPU)
    assert not (root / "planted").exists()


def test_a_checkpoint_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "denoising_diffusion_pytorch", None)
    with pytest.raises(UserError, match=r"pip install 'sfddm\[lucidrains\]'"):
        LucidrainsUNet(block_out_channels=[8, 8])


# The spec, and the command.

FROM_THE_HUB = "{kind: diffusers, model: google/ddpm-cifar10-32, revision: main}"


def with_source(source: str) -> str:
    """tiny.yaml with another source of its teacher, whose training, an anchor, is the student's from then on."""
    start, end = TINY.index("    kind: train"), TINY.index("\nstudents:")
    training = (
        "{iterations: 40, batch_size: 64, learning_rate: 2.0e-3, warmup: 5, decay: 0.5, clip_norm: 1.0, average: 0.9, "
        "precision: fp32, memory_format: contiguous, compile: false}"
    )
    text = TINY[:start].rstrip() + f" {source}\n" + TINY[end:]
    return text.replace("training: *training", f"training: &training {training}", 1)


@pytest.mark.parametrize(
    "source",
    [
        FROM_THE_HUB,
        f"{{kind: diffusers, model: digits, revision: {'a' * 64}}}",
        f"{{kind: checkpoint, file: model-9.pt, sha256: {'a' * 64}, weights: ema}}",
    ],
)
def test_sources_can_be_written_in_a_spec_and_survive_plain_data(source: str) -> None:
    spec = parse_spec(with_source(source), "x.yaml")
    assert structure(unstructure(spec), type(spec)) == spec


@pytest.mark.parametrize(
    ("source", "path", "words"),
    [
        ("{kind: diffusers, model: digits, revision: main}", "revision", "its weights' SHA-256"),
        ("{kind: diffusers, model: ../x, revision: main}", "model", "OWNER/NAME"),
        ("{kind: diffusers, model: a/b/c, revision: main}", "model", "OWNER/NAME"),
        ("{kind: diffusers, model: a/b, revision: ../x}", "revision", "a commit, a tag"),
        ("{kind: diffusers, model: a/b}", "", "missing key 'revision'"),
        (f"{{kind: checkpoint, file: ../x.pt, sha256: {'a' * 64}, weights: ema}}", "file", "without a folder"),
        (f"{{kind: checkpoint, file: x.pt, sha256: {'a' * 64}, weights: emma}}", "weights", "did you mean 'ema'?"),
        ("{kind: checkpoint, file: x.pt, sha256: abc, weights: ema}", "sha256", "64 hexadecimal digits"),
        ("{kind: difusers, model: a/b, revision: main}", "kind", "did you mean 'diffusers'?"),
    ],
)
def test_a_fault_in_a_source_names_its_path(source: str, path: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(with_source(source), "x.yaml")
    where = f"@ $.teacher.source{'.' if path else ''}{path}"
    assert any(words in line and line.endswith(where) for line in str(caught.value).splitlines()), caught.value


def inspected(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["sfddm", "teacher", "inspect", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return printed.out if ended.value.code == 0 else printed.err


@pytest.mark.heavy
def test_inspect_prints_a_whole_spec_for_a_teacher(
    trained: Denoiser, theirs: Any, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    save(trained.network, root / "digits")
    fill(cache, trained.network)
    write(theirs, root / "model-9.pt")
    specs = []
    for name in (str(root / "digits"), "digits", MODEL, str(root / "model-9.pt"), "model-9.pt"):
        printed = inspected(name, monkeypatch=monkeypatch, capsys=capsys)
        assert "parameters" in printed and "1 channels" in printed and f"`sfddm new mine --teacher {name}`" in printed
        specs.append(parse_spec(printed[printed.index("# yaml-language-server") :], "mine.yaml"))
    assert specs[0] == specs[1] and specs[0].teacher == described(from_folder("digits", root))
    assert specs[2].teacher == described(FromDiffusers(kind="diffusers", model=MODEL, revision=COMMIT))
    assert specs[3] == specs[4]
    source = specs[3].teacher.source
    assert isinstance(source, FromCheckpoint) and source.weights == "ema" and specs[3].teacher.prediction == "v"
    assert [spec.data.shape for spec in specs] == [(1, 8, 8)] * 3 + [(1, 64, 64)] * 2
    for spec, start, spacing in ((specs[0], "epsilon-sample", "uniform-angle"), (specs[3], "same", "uniform")):
        ours = spec.students["ours-t4"]
        assert isinstance(ours.method, SFDDM) and ours.method.start.prediction == start
        assert {student.index_set.kind for student in spec.students.values()} == {spacing}
    assert "expected a folder" in inspected("a/b/c", monkeypatch=monkeypatch, capsys=capsys)


def test_a_pickle_of_a_whole_network_is_not_opened(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it holds would make a file."""

    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str, str]]:
            return open, (str(tmp_path / "it ran"), "w")

    (root / "edm-cifar10-32x32-uncond-vp.pkl").write_bytes(pickle.dumps({"ema": Runs()}))
    printed = inspected("edm-cifar10-32x32-uncond-vp.pkl", monkeypatch=monkeypatch, capsys=capsys)
    assert "nothing of it was read" in printed and "sfddm teacher convert" in printed
    assert not (tmp_path / "it ran").exists()


@pytest.mark.heavy
def test_a_spec_begins_with_a_teacher_and_images(
    trained: Denoiser, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are elsewhere, so that links lead to them."""
    (tmp_path / "project").mkdir()
    only_spec(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("SFDDM_DATA_ROOT", raising=False)
    teacher = save(trained.network, tmp_path / "models/digits-8")
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images[:40]):
        Image.fromarray(image[0]).convert("RGB").save(tmp_path / f"photos/{number}.png")
    monkeypatch.setattr(
        "sys.argv", ["sfddm", "new", "mine", "--teacher", str(teacher), "--images", str(tmp_path / "photos")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    spec = load_spec("mine")
    assert spec.data.shape == (1, 8, 8), "as the teacher's, though the images are in colour"
    (tmp_path / "data").mkdir()
    prepare(spec.data, tmp_path / "data")
    import_teacher(spec.teacher, store.read(tmp_path / "data", "train").images, CPU)
