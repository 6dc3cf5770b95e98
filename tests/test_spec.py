"""Specs: valid ones are understood, and every fault is named with file, line, path and remedy."""

import re
from pathlib import Path

import pytest
from attrs import evolve
from ruamel.yaml import YAML

from sfddm.cli import main
from sfddm.errors import SpecError
from sfddm.pipeline.params import active, expand
from sfddm.spec.checks import remarks
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import structure, unstructure
from sfddm.spec.read import load_spec, parse_spec, spec_names
from sfddm.spec.students import Free
from sfddm.spec.teacher import FromDiffusers
from tests.parts import tiny, with_scorers

ROOT = Path(__file__).parents[1]
TINY = (ROOT / "tests" / "tiny.yaml").read_text()


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def fault(old: str, new: str, count: int = 1) -> str:
    """The message that a changed tiny.yaml is refused with."""
    assert old in TINY
    with pytest.raises(SpecError) as caught:
        parse_spec(TINY.replace(old, new, count), "tiny.yaml")
    return str(caught.value)


def line_of(text: str) -> int:
    return TINY[: TINY.index(text)].count("\n") + 1


def test_every_spec_of_the_repository_is_valid() -> None:
    paths = list((ROOT / "specs/gallery").glob("*.yaml"))
    assert len(paths) > 10
    for path in [ROOT / "specs/digits.yaml", ROOT / "tests/tiny.yaml", *paths]:
        assert load_spec(str(path)).name == path.stem


def test_the_demo_is_the_only_active_spec() -> None:
    """`dvc repro` alone is to run it and nothing else."""
    assert spec_names() == ["digits"]


def test_a_spec_survives_the_way_to_plain_data_and_back() -> None:
    spec = load_spec("digits")
    assert structure(unstructure(spec), Spec) == spec


def test_runs_are_students_times_seeds() -> None:
    text = TINY.replace("seeds: [0]\n\nevaluation", "seeds: [0, 5]\n\nevaluation")
    assert [run.name for run in parse_spec(text, "x").runs()] == [
        "tiny-ddim-t4-s0",
        "tiny-ours-t4-s0",
        "tiny-ours-t4-s5",
    ]


def test_params_yaml_lists_the_runs_of_the_specs() -> None:
    assert (ROOT / "params.yaml").read_text() == expand(active()[0]), "run `sfddm spec sync`"


@pytest.mark.parametrize(
    ("old", "new", "path", "words"),
    [
        ("kind: digits", "kind: digit", "$.data.kind", "did you mean 'digits'?"),
        ("timesteps: 64", "timesteps: '64'", "$.teacher.timesteps", "expected a whole number, found '64'"),
        ("timesteps: 64", "timesteps: 64.5", "$.teacher.timesteps", "expected a whole number, found 64.5"),
        ("timesteps: 64", "timesteps: true", "$.teacher.timesteps", "expected a whole number, found True"),
        ("timesteps: 64", "timesteps:", "$.teacher.timesteps", "found nothing"),
        ("batch_size: 64", "batch_size: 0", "$.teacher.source.training.batch_size", "at least 1"),
        ("learning_rate: 2.0e-3", "learning_rate: .nan", "$.teacher.source.training.learning_rate", "nan"),
        ("learning_rate: 2.0e-3", "learning_rate: 0", "$.teacher.source.training.learning_rate", "above 0"),
        (
            "middle_attention: false",
            "middle_attention: 0",
            "$.teacher.source.network.middle_attention",
            "true or false",
        ),
        ("noise_schedule: cosine", "noise_schedule: cos", "$.teacher.noise_schedule", "did you mean 'cosine'?"),
        ("noise_schedule: cosine", "noise_schedule: 3", "$.teacher.noise_schedule", "(or a mapping of kind 'betas')"),
        (
            "noise_schedule: cosine",
            "noise_schedule: {kind: cosine}",
            "$.teacher.noise_schedule.kind",
            "expected 'betas'",
        ),
        (
            "noise_schedule: cosine",
            "noise_schedule: {kind: betas, beta_schedule: linear, beta_start: 0.02, beta_end: 0.0001, "
            "zero_terminal_snr: false}",
            "$.teacher.noise_schedule.beta_end",
            "expected at least beta_start (0.02)",
        ),
        ("average: 0.9", "average: 1.5", "$.teacher.source.training.average", "at most 1"),
        (
            "average: 0.9",
            "average: {kind: half-life, images: 9}",
            "$.teacher.source.training.average",
            "missing key 'ramp'",
        ),
        ("channels: [8, 16]", "channels: 8", "$.teacher.source.network.channels", "expected a list, found 8"),
        ("channels: [8, 16]", "channels: [8, 15]", "$.teacher.source.network.channels[1]", "multiple of norm_groups"),
        (
            "channels: [8, 16]\n      attention: [false, false]\n      middle_attention: false\n      head_channels: 8",
            "channels: [8, 16]\n      attention: [false, false]\n      middle_attention: true\n      head_channels: 12",
            "$.teacher.source.network.channels[1]",
            "expected a multiple of head_channels (12), found 16",
        ),
        (
            "channels: [8, 16]\n      attention: [false, false]\n      middle_attention: false\n      head_channels: 8",
            "channels: [8, 16]\n      attention: [true, false]\n      middle_attention: false\n      head_channels: 5",
            "$.teacher.source.network.channels[0]",
            "expected a multiple of head_channels (5), found 8",
        ),
        ("prediction: v", "prediction: w", "$.teacher.prediction", "expected 'epsilon' or 'v' or 'sample'"),
        ("prediction: v", "predction: v", "$.teacher.predction", "unknown key 'predction', did you mean 'prediction'?"),
        ("prediction: v", "predction: v", "$.teacher", "missing key 'prediction'"),
        ("solver: ddim}", "solver: ddpm}", "$.students.ddim-t4.method.solver", "did you mean 'ddim'?"),
        ("method: {kind: free, solver: ddim}", "method: ddim", "$.students.ddim-t4.method", "expected a mapping"),
        ("{kind: uniform, steps: 4}", "{kind: uniform, steps: 65}", "$.students.ddim-t4.index_set.steps", "has 64"),
        (
            "{kind: uniform, steps: 4}",
            "{kind: explicit, levels: [3, 2], search: 0}",
            "$.students.ddim-t4.index_set.levels",
            "incre",
        ),
        ("  ddim-t4:", "  DDIM t4:", "$.students.DDIM t4", "a name of a-z, 0-9"),
        ("seeds: [0]", "seeds: []", "$.students.ddim-t4.seeds", "expected one seed"),
        ("seeds: [0]", "seeds: [0, 1]", "$.students.ddim-t4.seeds", "trains nothing"),
        ("students: [ours-t4]", "students: [our-t4]", "$.registry.students[0]", "did you mean 'ours-t4'?"),
        ("noises: 128", "noises: 12", "$.students.ours-t4.method.sources[0].cache.noises", "at least one batch"),
        ("train: 1500", "train: 1797", "$.data.train", "fewer than the 1797"),
        ("train: 1500", "train: 1778", "$.data.train", "19 images to measure distances to"),
        ("train: 1500", "train: 1778", "$.data.train", "need at least 20, better hundreds: use at most 1777"),
        ("version: 2", "version: 1", "$.version", "expected '2'"),
        ("samples: 256", "samples: 1", "$.evaluation.samples", "at least 2"),
        ("samples: 256", "samples: 19", "$.evaluation.samples", "comparisons need at least 20, better thousands"),
        ("  scorers:\n", "  scorer:\n", "$.evaluation.scorer", "did you mean 'scorers'?"),
        ("    pixels: {kind", "    Pixels: {kind", "$.evaluation.scorers.Pixels", "a name of a-z"),
        ("{kind: pixels}", "{kind: pixel}", "$.evaluation.scorers.pixels.kind", "did you mean 'pixels'?"),
        ("margin: 0.1", "margin: 1.1", "$.evaluation.margin", "at most 1"),
        ("timesteps: 64", "timesteps: " + "9" * 30, "$.teacher.timesteps", "at most 100000"),
        (
            "learning_rate: 2.0e-3",
            "learning_rate: 1" + "0" * 400,
            "$.teacher.source.training.learning_rate",
            "sensible",
        ),
        ("warmup: 5", "warmup: 25", "$.teacher.source.training.warmup", "longer than the training"),
    ],
)
def test_a_fault_names_its_line_its_path_and_what_was_expected(old: str, new: str, path: str, words: str) -> None:
    message = fault(old, new)
    named = [line for line in message.splitlines() if line.endswith(f"@ {path}")]
    assert named and words in named[0]
    line = int(re.match(r"tiny\.yaml:(\d+): ", named[0])[1])
    assert abs(line - line_of(old)) <= (0 if "missing key" not in words else 3)


@pytest.mark.parametrize("prediction", ["epsilon", "edm"])
def test_predicted_noise_and_a_zero_terminal_snr_are_refused_together(prediction: str) -> None:
    betas = "{kind: betas, beta_schedule: linear, beta_start: 0.0001, beta_end: 0.02, zero_terminal_snr: true}"
    message = fault("noise_schedule: cosine\n  prediction: v", f"noise_schedule: {betas}\n  prediction: {prediction}")
    assert "the noisiest level has nothing of the image" in message and "@ $.teacher.prediction" in message


def test_terms_that_say_nothing_or_the_same_twice_are_refused() -> None:
    terms = TINY[TINY.index("      terms:") : TINY.index("      training: *training")]
    assert "expected at least one term @ $.students.ours-t4.method.terms" in fault(terms, "      terms: []\n")
    assert "above 0" in fault("weight: 1.0, distance", "weight: 0.0, distance")
    twice = fault("        - {kind: feature, weight: 0.3, state: landing}", f"        - {HIDDEN}")
    assert "a second hidden term: expected one of a kind @ $.students.ours-t4.method.terms[1].kind" in twice


def test_a_distribution_term_that_never_begins_or_begins_late_alone_is_refused() -> None:
    terms = TINY[TINY.index("      terms:") : TINY.index("      training: *training")]
    late = "{kind: distribution, weight: 1.0, begin: BEGIN, ramp: 0.0, learning_rate: 1.0e-3, average: 0.98}"
    never = fault(terms, f"      terms: [{HIDDEN}, {late.replace('BEGIN', '1.0')}]\n")
    assert "iterations has this term" in never and "@ $.students.ours-t4.method.terms[1].begin" in never
    alone = fault(terms, f"      terms: [{late.replace('BEGIN', '0.5')}]\n")
    assert "nothing is learnt before the distribution term begins" in alone
    parse_spec(TINY.replace(terms, f"      terms: [{late.replace('BEGIN', '0.0')}]\n"), "tiny.yaml")


COPY = "{kind: teacher, prediction: same}"
TOO_DEEP = (
    "{kind: scratch, prediction: v, network: {kind: unet2d, channels: [4, 4, 4, 4, 4], attention: [false], "
    "middle_attention: false, head_channels: 4, layers_per_block: 1, norm_groups: 4}}"
)
ON_PATCHES = (
    "{kind: scratch, prediction: v, network: {kind: patched-unet2d, patch: 2, channels: [8, 16], attention: [false, "
    "false], middle_attention: false, head_channels: 8, layers_per_block: 1, norm_groups: 4}}"
)
TEACHER = "teacher_steps: {solver: ddim, substeps: 1, clip_sample: false}"
COMMON = f"start: {COPY}, {TEACHER}, distance: mse, weighting: snr+1, training: *training"
TARGETS = f"target_average: 0.5, {COMMON}"
FINE = ("substeps: 1", "substeps: 5")
NAMED_KEPT = ("*training", "{<<: *training, other_averages: {kept: 0.9}}")
HIDDEN = "{kind: hidden, weight: 1.0, distance: mse, weighting: snr+1}"
FEATURE = "{kind: feature, weight: 0.3, state: landing}"
CACHE = "{noises: 128, seed: 2, solver: ddim, substeps: 1, clip_sample: true}"


def with_student(method: str, index_set: str = "{kind: uniform, steps: 4}", seeds: str = "[0]") -> str:
    """tiny.yaml with one more student."""
    student = f"  new:\n    index_set: {index_set}\n    clip_sample: true\n    method: {method}\n    seeds: {seeds}\n"
    return TINY.replace("\nevaluation:", f"{student}\nevaluation:")


@pytest.mark.parametrize(
    "method",
    [
        f"{{kind: progressive, start_steps: 16, {COMMON}}}",
        f"{{kind: consistency, grid: {{kind: uniform, steps: 16}}, {TARGETS}}}",
        f"{{kind: tract, substeps: 4, {TARGETS}}}",
        f"{{kind: any-step, start: {COPY}, cache: {CACHE}, unaligned: 0.2, terms: [{HIDDEN}, {FEATURE}], "
        "training: *training}",
        "{kind: resampled, student: ours-t4}",
    ],
)
def test_every_method_can_be_written_in_a_spec_and_survives_plain_data(method: str) -> None:
    spec = parse_spec(with_student(method), "tiny.yaml")
    assert structure(unstructure(spec), Spec) == spec


@pytest.mark.parametrize(
    ("method", "index_set", "path", "words"),
    [
        (f"{{kind: progressive, start_steps: 12, {COMMON}}}", None, "method.start_steps", "power of two: 8, 16, 32"),
        (f"{{kind: progressive, start_steps: 4, {COMMON}}}", None, "method.start_steps", "power of two"),
        (f"{{kind: progressive, start_steps: 128, {COMMON}}}", None, "method.start_steps", "use fewer"),
        (f"{{kind: progressive, start_steps: 64, {COMMON.replace('*training', '{<<: *training, warmup: 12}')}}}", None,
         "method.training.iterations", "4 folds leave 10 iterations each"),
        (f"{{kind: consistency, grid: {{kind: uniform, steps: 16}}, {TARGETS}}}", "{kind: uniform, steps: 3}",
         "index_set", "21, 43 are not among them: use 20, 44"),
        (f"{{kind: consistency, grid: {{kind: uniform, steps: 65}}, {TARGETS}}}", None, "method.grid.steps", "has 64"),
        (f"{{kind: tract, substeps: 32, {TARGETS}}}", None, "method.substeps", "there is room for"),
        (f"{{kind: tract, substeps: 4, {TARGETS.replace(*FINE)}}}", None, "method.substeps", "there is room for"),
        (f"{{kind: progressive, start_steps: 16, {COMMON.replace(*FINE)}}}", None, "method.start_steps",
         "there is room for"),
        (f"{{kind: consistency, grid: {{kind: uniform, steps: 16}}, {TARGETS.replace(*FINE)}}}", None,
         "method.teacher_steps.substeps", "there is room for"),
        ("{kind: resampled, student: our-t4}", None, "method.student", "did you mean 'ours-t4'?"),
        ("{kind: resampled, student: ddim-t4}", None, "method.student", "use `{kind: free, solver: ddim}`"),
        (f"{{kind: tract, substeps: 4, {TARGETS.replace('same', 'epsilon-sample')}}}", None, "method.start.prediction",
         "the teacher predicts v"),
        (f"{{kind: tract, substeps: 4, {TARGETS.replace(COPY, TOO_DEEP)}}}", None, "method.start.network.channels",
         "can't be halved that often"),
        (f"{{kind: any-step, start: {TOO_DEEP}, cache: {CACHE}, unaligned: 0.2, "
         f"terms: [{HIDDEN}, {FEATURE}], training: *training}}", None, "method.terms[1]",
         "4 features and the teacher's 8"),
        (f"{{kind: any-step, start: {ON_PATCHES}, cache: {CACHE}, unaligned: 0.2, "
         f"terms: [{HIDDEN}, {FEATURE}], training: *training}}", None, "method.terms[1]", "on patches of 2 and 1"),
        (f"{{kind: tract, substeps: 4, {TARGETS.replace(COPY, ON_PATCHES.replace('patch: 2', 'patch: 3'))}}}", None,
         "method.start.network.patch", "expected a divisor of 8 and 8"),
        (f"{{kind: tract, substeps: 4, {TARGETS.replace(COPY, ON_PATCHES.replace('patch: 2', 'patch: 8'))}}}", None,
         "method.start.network.channels", "1x1 images can't be halved that often"),
        ("{kind: free, solver: ddim}", "{kind: uniform-log-snr, steps: 60}", "index_set.steps", "use fewer"),
        ("{kind: free, solver: ddim, average: short}", None, "method.average",
         "the teacher keeps no average 'short': add it to `other_averages` of its training"),
        ("{kind: resampled, student: ours-t4, average: short}", None, "method.average", "ours-t4 keeps no average"),
        (f"{{kind: tract, substeps: 4, {TARGETS.replace(*NAMED_KEPT)}}}", None, "method.training.other_averages.kept",
         "choose another one"),
        (f"{{kind: any-step, start: {COPY}, cache: {CACHE}, unaligned: 0.2, "
         f"terms: [{FEATURE}], training: *training}}", None, "method.terms", "add one"),
    ],
)  # fmt: skip
def test_methods_and_index_sets_that_do_not_fit_are_refused_with_a_remedy(
    method: str, index_set: str | None, path: str, words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(with_student(method, index_set or "{kind: uniform, steps: 4}"), "tiny.yaml")
    named = [line for line in str(caught.value).splitlines() if f"@ $.students.new.{path}" in line]
    assert named and words in named[0]


AVERAGES = "other_averages: {short: 0.5, long: {kind: half-life, images: 200, ramp: 0.05}}"
KEEPS_THREE = f"{{kind: tract, substeps: 4, {TARGETS.replace('*training', f'{{<<: *training, {AVERAGES}}}')}}}"


def test_other_averages_have_rows_of_their_own_on_the_same_levels() -> None:
    kept = with_student(KEEPS_THREE)
    spec = parse_spec(with_row("new", "long", 4, kept), "tiny.yaml")
    assert structure(unstructure(spec), Spec) == spec and spec.students["of-new"].method.average == "long"
    twice = with_row("of-new", "long", 4, with_row("new", "long", 4, kept))
    for text, said in (
        (with_row("new", "lon", 4, kept), "new keeps no average 'lon', did you mean 'long'?"),
        (with_row("new", "other", 4, kept), "new keeps no average 'other': expected 'short' or 'long'"),
        (with_row("ours-t4", "long", 4, TINY), "ours-t4 keeps no average 'long': add it to `other_averages` of its"),
        (with_row("new", "long", 2, kept), "new (tract) can be sampled on its own index set alone"),
        (with_row("new", "kept", 4, kept), "this row is new once more: name another `average` of its training here"),
        (with_row("ddim-t4", "long", 4, TINY), "use `{kind: free, solver: ddim, average: long}` here"),
        (twice, "of-new is resampled itself: name the student that is trained"),
    ):
        with pytest.raises(SpecError) as caught:
            parse_spec(text, "tiny.yaml")
        assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_teacher_from_elsewhere_has_one_average() -> None:
    source = FromDiffusers(kind="diffusers", model="mine", revision="0" * 64)
    context = evolve(tiny().context, teacher=evolve(tiny().teacher, source=source))
    row = evolve(tiny().students["ddim-t4"], method=Free(kind="free", solver="ddim", average="long"))
    (fault,) = row.check(context, ("students", "long"))
    assert "the teacher was trained elsewhere, and one average of it is here: remove `average`" in fault.message


def test_any_step_needs_the_hidden_term_beside_that_of_distributions() -> None:
    alone = "terms: [{kind: distribution, weight: 1.0, begin: 0.0, ramp: 0.0, learning_rate: 1.0e-4, average: 0.0}]"
    cache = "cache: {noises: 128, seed: 2, solver: ddim, substeps: 2, clip_sample: true}"
    start = "start: {kind: teacher, prediction: same}"
    method = f"{{kind: any-step, {start}, {cache}, unaligned: 0.5, {alone}, training: *training}}"
    with pytest.raises(SpecError, match="any-step learns where to land from the hidden term: add one"):
        parse_spec(with_student(method), "tiny.yaml")


def with_row(student: str, average: str, steps: int, text: str) -> str:
    """A spec with a row of another student's average."""
    row = (
        f"  of-{student}:\n    index_set: {{kind: uniform, steps: {steps}}}\n    clip_sample: true\n"
        f"    method: {{kind: resampled, student: {student}, average: {average}}}\n    seeds: [0]\n"
    )
    return text.replace("\nevaluation:", f"{row}\nevaluation:")


def test_other_averages_of_a_scorer_are_refused_with_a_remedy_where_they_are_merged() -> None:
    with pytest.raises(SpecError, match="a scorer keeps one average: remove this or, where its training is merged"):
        parse_spec(
            TINY.replace("    training: &training\n", f"    training: &training\n      {AVERAGES}\n"), "tiny.yaml"
        )


def test_a_panel_has_a_scorer() -> None:
    with pytest.raises(SpecError, match=r"expected at least one scorer, better several .* @ \$\.evaluation\.scorers"):
        parse_spec(with_scorers("{}"), "tiny.yaml")
    spec = parse_spec(with_scorers("{alone: {kind: pixels}}"), "tiny.yaml")
    assert spec.scorer("alone").kind == "pixels"
    with pytest.raises(SpecError, match="tiny has no scorer 'other'; it has: alone"):
        spec.scorer("other")


@pytest.mark.parametrize("wanted", ["better", "not-worse"])
def test_a_gate_against_free_samplers_needs_one_of_as_few_steps(wanted: str) -> None:
    """tiny registers ours-t4, of 4 steps, and has DDIM on as many."""
    text = TINY.replace("against_free: any", f"against_free: {wanted}")
    assert parse_spec(text, "tiny.yaml")
    four = "  ddim-t4:\n    index_set: {kind: uniform, steps: 4}"
    assert four in text
    more = text.replace(four, four.replace("steps: 4", "steps: 5"))
    with pytest.raises(SpecError) as caught:
        parse_spec(more, "tiny.yaml")
    assert str(caught.value) == (
        f"tiny.yaml:{more[: more.index('against_free')].count(chr(10)) + 1}: no free sampler has at most the 4 steps "
        "of a registered student: add one, `method: {kind: free, solver: angle-2m}`, or set this to any "
        "@ $.promotion.against_free"
    )
    assert parse_spec(more.replace(f"against_free: {wanted}", "against_free: any"), "tiny.yaml")
    assert parse_spec(more.replace("  students: [ours-t4]", "  students: []"), "tiny.yaml"), "nobody has to beat it"
    assert parse_spec(text.replace(four, four.replace("steps: 4", "steps: 3")), "tiny.yaml"), "fewer will do"
    with pytest.raises(SpecError, match="65 steps, but the teacher has 64"):  # said once, at its index set
        parse_spec(text.replace(four, four.replace("steps: 4", "steps: 65")), "tiny.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_scorers("{}"), "expected at least one scorer"),
        (TINY.replace("against_free: any", "against_free: better").replace("steps: 4", "steps: 5", 1), "add one"),
    ],
    ids=["no scorer", "no free sampler of as few steps"],
)  # fmt: skip
def test_a_bad_panel_ends_the_check_with_2(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/tiny.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sfddm", "spec", "check", "tiny"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_scorers_of_two_specs_may_not_have_one_name_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage of tiny's scorer b-c is that of tiny-b's scorer c."""
    (tmp_path / "specs").mkdir()
    for name, scorer in (("tiny", "b-c"), ("tiny-b", "c")):
        text = with_scorers(f"{{{scorer}: {{kind: pixels}}}}").replace("name: tiny", f"name: {name}")
        (tmp_path / f"specs/{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    specs, faults = active()
    assert [spec.name for spec in specs] == ["tiny"]
    assert faults == ["specs tiny and tiny-b both have a scorer tiny-b-c: rename one of them."]


def test_params_yaml_lists_the_scorers_of_the_specs() -> None:
    listed = YAML(typ="safe").load(Path("params.yaml"))["scorers"]
    assert listed == {
        "digits-convolutional": {"spec": "digits", "scorer": "convolutional", "code": "classifier"},
        "digits-transformer": {"spec": "digits", "scorer": "transformer", "code": "classifier"},
        "digits-pixels": {"spec": "digits", "scorer": "pixels", "code": "pixels"},
    }


def test_a_resampled_student_needs_its_parents_seed() -> None:
    with pytest.raises(SpecError, match="ours-t4 has no seed 3"):
        parse_spec(with_student("{kind: resampled, student: ours-t4}", seeds="[0, 3]"), "tiny.yaml")


def test_all_faults_are_reported_at_once() -> None:
    text = (
        TINY.replace("timesteps: 64", "timesteps: none").replace("solver: ddim\n", "solver: dim\n").replace("v", "w", 0)
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(text.replace("num", "n").replace("samples: 256", "samples: -1"), "x")
    assert len(str(caught.value).splitlines()) == 4


def test_a_fault_in_a_merged_section_points_into_the_anchor() -> None:
    message = fault("      warmup: 5", "      warmup: five")
    lines = {line.split(":")[1] for line in message.splitlines()}
    assert lines == {str(line_of("      warmup: 5"))}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a mapping, found nothing"),
        ("3", "expected a mapping, found 3"),
        ("a: [1", "expected ',' or ']'"),
        ("name: x\nname: y", "duplicate key"),
        ("name: !!python/object/apply:os.system ['true']", "specs know no tag !!python/object/apply:os.system"),
        ("name: !!bool abc", "x.yaml:1: 'abc' can't be read as bool"),
        ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
        ), "aliases are expanded"),
    ],
)  # fmt: skip
def test_what_is_no_spec_at_all_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        parse_spec(text, "x.yaml")


def test_a_missing_spec_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'digits'"):
        load_spec("digit")


def test_a_spec_has_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(TINY)
    with pytest.raises(SpecError, match="expected `name: other`"):
        load_spec(str(tmp_path / "other.yaml"))


def test_a_teacher_from_elsewhere_may_know_what_is_held_out() -> None:
    spec = tiny()
    source = FromDiffusers(kind="diffusers", model="mine", revision="0" * 64)
    (remark,) = remarks(evolve(spec, teacher=evolve(spec.teacher, source=source)))
    assert "perhaps with images that are held out here" in remark


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"prediction: v\n": "prediction: epsilon\n"}, ["from which ours-t4 would have to divide the image out"]),
        (
            {
                "prediction: v\n": "prediction: epsilon\n",
                "{kind: teacher, prediction: same}": "{kind: teacher, prediction: epsilon-sample}",
            },
            [],
        ),
        ({"noise_schedule: cosine": "noise_schedule: linear"}, ["uniform that of ddim-t4, ours-t4"]),
    ],
)
def test_settings_for_another_teacher_are_remarked_on(changes: dict[str, str], words: list[str]) -> None:
    text = TINY
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    found = list(remarks(parse_spec(text, "tiny.yaml")))
    assert len(found) == len(words) and all(word in remark for word, remark in zip(words, found, strict=True))
