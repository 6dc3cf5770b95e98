"""Specs, names and links that somebody, or something, has damaged: refused with their place, nothing done."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfddm.cli import main
from sfddm.errors import SpecError
from sfddm.pipeline.paths import Paths
from sfddm.spec.fields import NAME, require_name
from sfddm.spec.read import MOST_FAULTS, load_spec, parse_spec
from sfddm.spec.safe_yaml import DEEPEST, LARGEST, LONGEST, MOST_NODES
from stages import harness
from tests.mutations import LAUGHS, TEXTS, limited, try_mutations

TINY = TEXTS["tiny"]
SOURCE, NETWORK = "$.students.ours-t4.method.sources[0]", "$.teacher.source.network"
NO_NAMES = [
    "", ".", "..", "../tiny", "a/b", "/etc/passwd", "a\\b", " ", "a b", "tiny ", "tiny\n", "tiny\0", "-tiny", "--help",
    "tiny-", "tiny.", ".tiny", "tiny.yaml/..", "Tiny", "t\u00efny", "tini\u0301",
    "\uff54iny", "t\u0456ny", "tiny\u202e",
    "\u200btiny", "\u0661", "con", "nul", "com1", "lpt9", "x" * 65, "x" * 5000, "~", "$HOME",
    "a;b", "models:/x", "\udcff",
]  # fmt: skip
"""What climbs, hides, is read as something else, or can't be a file everywhere."""


def refused(text: str) -> str:
    """The error that a text is refused with, whatever the machine's speed, before much is built from it."""
    with limited(), pytest.raises(SpecError) as caught:
        parse_spec(text, "x.yaml")
    return str(caught.value)


UNREADABLE: tuple[tuple[str, int | None, str], ...] = (
    (LAUGHS + TINY, None, f"more than {MOST_NODES} values once aliases are expanded"),
    ("a: 1\nb: &b [*b]", 2, "an alias inside of what it names"),
    ("a: 1\nb: &b {<<: *b, c: 1}", 2, "an alias inside of what it names"),
    ("a:\n  - " + "[" * 30 + "]" * 30, 2, f"more than {DEEPEST} levels"),
    ("a: " + "{a: " * 20_000, 1, f"more than {DEEPEST} levels"),
    ("a0: &a0 {b: 1}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}}}\n" for i in range(1, 30)), None, "levels"),
    ("a: 1\nb: " + "x" * (LONGEST + 1), 2, f"more than {LONGEST} characters"),
    ("a: 1\nb: 1" + "0" * 5000, 2, f"more than {LONGEST} characters"),
    ("a: 1\n" + "x" * (LONGEST + 1) + ": 1", 2, f"more than {LONGEST} characters"),
    ("a: 1\na: 2", 2, 'found duplicate key "a"'),
    ("b: &b {c: 1}\na: {<<: *b, <<: *b}", 2, "duplicate merge key"),
    ("a: 1\nb: !!python/object/apply:os.system ['true']", 2, "specs know no tag !!python/object/apply:os.system"),
    ("a: 1\nb: !mine 3", 2, "specs know no tag !mine"),
    ("a: 1\nb: !!binary aGk=", 2, "specs know no tag !!binary"),
    ("a: 1\nb: !!set {a, b}", 2, "specs know no tag !!set"),
    ("a: 1\nb: !!int abc", 2, "'abc' can't be read as int"),
    ("a: 1\nb: !!float x", 2, "'x' can't be read as float"),
    ("a: 1\nb: 2001-12-14", 2, "dates are not allowed here"),
    ("a: 1\nb: 2001-99-99", 2, "dates are not allowed here"),
    ("a: 1\n? [b]\n: 1", 2, "expected a name as a key"),
    ("a: 1\nb: {<<: 3}", 2, "expected a mapping"),
    ("a: 1\nb: *c", 2, "undefined alias"),
    ("a: 1\nb: \0", 2, "special characters are not allowed"),
    ("a: 1\nb: \x1b[2J", 2, "special characters are not allowed"),
    ("a: 1\n---\nb: 2", 2, "another document"),
)  # fmt: skip
"""Texts, the line at which they are refused, and why."""


def test_what_the_file_may_not_hold_is_refused_at_its_line(subtests: pytest.Subtests) -> None:
    for text, line, words in UNREADABLE:
        with subtests.test(text=text[:80]):
            message = refused(text)
            assert words in message
            assert message.startswith(f"x.yaml:{line}: " if line else "x.yaml:")
            assert "\n" not in message


BEYOND = (
    ("timesteps: 64", f"timesteps: {10**12}", "$.teacher.timesteps", "at most 100000,"),
    ("noises: 128", f"noises: {10**12}", f"{SOURCE}.cache.noises", "at most 100000000,"),
    (
        "substeps: 2",
        f"substeps: {10**12}",
        f"{SOURCE}.cache.substeps",
        "at most 100000,",
    ),
    (
        "substeps: 2",
        "substeps: 17",
        f"{SOURCE}.cache.substeps",
        "room for 64: use fewer",
    ),
    ("batch_size: 64", f"batch_size: {10**9}", "$.teacher.source.training.batch_size", "at most 1000000,"),
    ("samples: 256", f"samples: {10**12}", "$.evaluation.samples", "at most 100000000,"),
    ("channels: [8, 16]", f"channels: [8, {10**9}]", f"{NETWORK}.channels[1]", "at most 16384,"),
    ("features: 16", f"features: {10**9}", "$.evaluation.scorers.convolutional.features", "at most 16384,"),
    (
        "layers_per_block: 1",
        f"layers_per_block: {10**9}",
        f"{NETWORK}.layers_per_block",
        "at most 100,",
    ),
    ("share: 1.0", "share: 1e308", f"{SOURCE}.share", "at most 1000000000,"),
    ("learning_rate: 2.0e-3", "learning_rate: .inf", "$.teacher.source.training.learning_rate", "found inf"),
    ("learning_rate: 2.0e-3", "learning_rate: 1e999999999", "$.teacher.source.training.learning_rate", "found inf"),
    ("decay: 0.5", "decay: .nan", "$.teacher.source.training.decay", "found nan"),
    ("seed: 1\n", f"seed: {2**31}\n", "$.teacher.source.seed", "at most 2147483647,"),
    ("clip_sample: true", "clip_sample: on", "$.students.ddim-t4.clip_sample", "true or false, found 'on'"),
    ("timesteps: 64", "timesteps: '64'", "$.teacher.timesteps", "found '64'"),
    ("train: 1500", "train: 1.5e3", "$.data.train", "found 1500.0"),
    ("name: tiny", "name: ../tiny", "$.name", "a name of a-z"),
    ("name: tiny", 'name: "tiny\\n"', "$.name", "found 'tiny\\n'"),
    ("name: tiny", "name: con", "$.name", "Windows"),
    ("  ddim-t4:", "  ../ddim:", "$.students.../ddim", "a name of a-z"),
    ("model: sfddm-tiny", "model: ../../tiny", "$.registry.model", "a name of a-z"),
    ("  ddim-t4:", '  "\\e[2J\\u202e":', "$.students.\\x1b[2J\\u202e", "a name of a-z"),
)
"""What of tiny is replaced with what, the place that is named, and why it is refused."""


def test_a_value_beyond_its_limit_is_refused_with_the_limit(subtests: pytest.Subtests) -> None:
    for old, new, path, words in BEYOND:
        with subtests.test(new=new):
            assert old in TINY
            (named, *_) = [
                line for line in refused(TINY.replace(old, new, 1)).splitlines() if line.endswith(f"@ {path}")
            ]
            assert words in named


def test_sources_that_get_no_image_of_a_batch_are_refused() -> None:
    one = TINY[TINY.index("        - kind: trajectory") : TINY.index("      terms:")]
    other = "        - {kind: data, share: 0.001, teacher_steps: {solver: ddim, substeps: 1, clip_sample: true}}\n"
    message = refused(TINY.replace(one, one + other))
    assert "gets none of a batch of 64 images" in message and "sources[1].share" in message


def test_thousands_of_faults_are_counted_and_not_all_shown() -> None:
    lines = refused(TINY + "".join(f"k{i}: {i}\n" for i in range(500))).splitlines()
    assert len(lines) == MOST_FAULTS + 1 and lines[-1] == f"x.yaml: {500 - MOST_FAULTS} more faults"


def test_the_longest_index_sets_are_understood() -> None:
    text = TINY.replace("timesteps: 64", "timesteps: 100000").replace("substeps: 2", "substeps: 1")
    with limited():
        spec = parse_spec(text.replace("kind: uniform, steps: 4", "kind: uniform-angle, steps: 100000"), "x.yaml")
        assert spec.levels("ours-t4") == tuple(range(1, 100_001))


@pytest.mark.heavy
def test_mutations_of_the_specs_are_refused_with_their_place_or_valid(tmp_path: Path) -> None:
    outcomes = try_mutations(100, tmp_path)
    assert outcomes.total() >= 100
    assert min(outcomes["refused"], outcomes["valid"]) > 0


TAKERS: tuple[Callable[[str], object], ...] = (
    lambda name: require_name(name, "x"), Paths, lambda name: Paths("tiny").student(name, 0),
    lambda name: Paths("tiny").result(name, 0), load_spec,
)  # fmt: skip


def test_no_such_name_is_taken_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NO_NAMES:
        with subtests.test(name=name[:80]):
            assert NAME.fault(name)
            for take in TAKERS:
                with pytest.raises(SpecError):
                    take(name)
    for name in (name for name in NO_NAMES if "\0" not in name):
        with subtests.test(argument=name[:80]):
            monkeypatch.setattr(sys, "argv", ["stages.data", name])
            assert ends(lambda: harness.main(no_stage, "spec")) == 2
            for command in (("spec", "check"), ("spec", "show"), ("index-set", "show")):
                monkeypatch.setattr(sys, "argv", ["sfddm", *command, "--", name])
                assert ends(main) == 2
            printed = capfd.readouterr()
            assert "Traceback" not in printed.err
            assert printed.out == ""
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def no_stage(_: str) -> None:
    raise AssertionError("a stage ran under a name that is none")


def ends(command: Any) -> object:
    with pytest.raises(SystemExit) as ended:
        command()
    return ended.value.code


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of specs of a repository that has tiny alone."""
    folder = tmp_path / "repository" / "specs"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(folder.parent)
    return folder


def test_what_is_no_file_is_refused_and_not_waited_for(specs: Path) -> None:
    (specs / "folder.yaml").mkdir()
    os.mkfifo(specs / "pipe.yaml")
    (specs / "dangling.yaml").symlink_to(specs / "nowhere")
    (specs / "loop.yaml").symlink_to(specs / "loop.yaml")
    (specs / "large.yaml").write_text("#" * (LARGEST + 1))
    (specs / "bytes.yaml").write_bytes(b"name: \xff\n")
    (specs / "wide.yaml").write_bytes(TINY.encode("utf-16"))
    expected = {"folder": "not a file", "pipe": "not a file", "dangling": "no such spec", "loop": "can't be read",
                "large": f"larger than {LARGEST} bytes", "bytes": "can't decode", "wide": "can't decode"}  # fmt: skip
    for name, words in expected.items():
        with limited(), pytest.raises(SpecError, match=words):
            load_spec(name)
    (specs.parent / "zero.yaml").symlink_to("/dev/zero")
    with limited(), pytest.raises(SpecError, match="not a file"):
        load_spec("./zero.yaml")


def test_a_spec_that_a_link_takes_out_of_the_repository_is_refused(specs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(TINY.replace("name: tiny", "name: linked"))
    (specs / "linked.yaml").symlink_to(outside)
    with pytest.raises(SpecError, match="leads out of the repository"):
        load_spec("linked")
    (specs / "linked.yaml").unlink()
    inside = specs.parent / "inside.yaml"
    outside.rename(inside)
    (specs / "linked.yaml").symlink_to(inside)
    assert load_spec("linked").name == "linked"


def test_a_mark_of_byte_order_and_other_line_ends_are_no_faults() -> None:
    spec = parse_spec(TINY, "x.yaml")
    assert parse_spec("\ufeff" + TINY, "x.yaml") == spec == parse_spec(TINY.replace("\n", "\r\n"), "x.yaml")
