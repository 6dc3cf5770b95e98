"""The bench of mutants, on a package of a few lines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mutation.mutants import Module, Mutant, shares
from bench.mutation.pool import Worker
from bench.mutation.reach import Reach, statement_at
from bench.mutation.report import markdown
from bench.mutation.run import Run
from bench.mutation.setup import Setup

pytestmark = pytest.mark.process

SOURCE = '''"""A module."""

START = 1
NAME = "sums"


def above(number: int, most: int = 9) -> int:
    """Words."""
    if number > 5:
        return min(number, most) + START
    raise ValueError(f"{number + 1} is too small for {NAME}")


def unused(number: int) -> int:
    return number * 2
'''
TEST = """
import subprocess

import pytest

from tiny.sums import above


def test_above():
    assert above(7) == 8


@pytest.fixture(scope="module")
def ten():
    return above(9)


def test_one_of_two(ten):
    assert ten


def test_the_other(ten):
    assert ten == 10


def test_of_a_process():
    subprocess.run(["true"])
    assert above(7) == 8
"""
NAMED = "tests/test_sums.py::test_"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    for path, text in (("tiny/__init__.py", ""), ("tiny/sums.py", SOURCE), ("tests/test_sums.py", TEST)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    setup = Setup(
        root=tmp_path, package="tiny", targets=("tiny/sums.py",), tests=("tests/test_*.py",), marker="",
        inputs=("tiny", "tests"), warm=(),
    )  # fmt: skip
    return Run(setup=setup, folder=tmp_path / "known", jobs=1)


def test_a_changed_sum_is_noticed_and_a_changed_limit_is_not(run: Run) -> None:
    module = Module(run.setup.root, "tiny/sums.py")
    sample, reach, texts = run.sample([module], 100, 0), run.reach(), {module.path: module.text}
    assert {name: reason.split(":")[0] for name, reason in reach.left_out.items()} == {
        f"{NAMED}of_a_process": "bench.mutation.plugins.StartsProcess"
    }
    verdicts = run.verdicts(sample.mutants, reach, texts)
    assert {_line(verdict.mutant): verdict.ended for verdict in verdicts} == {
        "START = 2": "killed",
        "def above(number: int, most: int = 10) -> int:": "survived",
        "if number >= 5:": "survived",
        "if number > 6:": "survived",
        "return min(number, most) - START": "killed",
        "return number * 3": "uncovered",
    }
    assert {verdict.by for verdict in verdicts if verdict.noticed} <= {f"{NAMED}above", f"{NAMED}the_other"}
    page = markdown(verdicts, texts, "# Head")
    assert "\n| all | 6 | 2 | 0 | 3 | 1 | 33% |\n" in page
    assert "### tiny/sums.py:9\n\nsurvived 3 tests\n\n```diff\n" in page
    assert "-    if number > 5:\n+    if number >= 5:\n" in page
    (run.setup.root / "tests/test_sums.py").unlink()
    assert run.verdicts(run.sample([module], 100, 0).mutants, reach, texts) == verdicts  # nothing runs again


def _line(mutant: Mutant) -> str:
    return mutant.source.splitlines()[mutant.line - 1].strip()


@pytest.fixture
def worker(run: Run) -> Iterator[Worker]:
    with Worker(run.setup) as worker:
        yield worker


def test_a_mutant_that_never_ends_is_ended(worker: Worker) -> None:
    source = SOURCE.replace("    if number > 5:", "    while number > 5:\n        pass\n    if number:")
    task = {"path": "tiny/sums.py", "source": source, "tests": [(f"{NAMED}above", 0.1)], "seconds": 2}
    said = worker.do(task)
    assert said["ended"] == "timeout" and said["took"] < 10


def test_a_test_reaches_what_its_shared_fixtures_ran_and_imports_matter_to_all(run: Run) -> None:
    reach = run.reach()
    everyone = {f"{NAMED}{name}" for name in ("above", "one_of_two", "the_other")}
    for line, expected in ((3, everyone), (7, everyone), (10, everyone), (15, set())):
        assert set(reach.tests(Mutant("tiny/sums.py", line, "number", 0, ""), SOURCE)) == expected


def test_all_tests_matter_to_a_module_of_constants_alone() -> None:
    reach = Reach([{"seconds": {"a::one": 2.0, "a::two": 1.0}, "failed": {}, "lines": {"tiny/all.py": {"1": [""]}}}])
    assert reach.tests(Mutant("tiny/all.py", 1, "number", 0, ""), "ONE = 1\n") == ["a::two", "a::one"]


def test_the_quickest_tests_come_first_and_what_takes_too_long_together_is_left_out() -> None:
    seconds = {"a::slow": 40.0, "a::quick": 1.0, "b::middle": 10.0, "b::slower": 50.0}
    reach = Reach([{"seconds": seconds, "failed": {}, "lines": {}}])
    quickest_first = ["a::quick", "b::middle", "a::slow", "b::slower"]
    assert [name for name, _ in reach.affordable(quickest_first)] == ["b::middle", "a::quick", "a::slow"]
    assert [name for name, _ in reach.affordable(["b::slower"])] == ["b::slower"]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("a = 1  # here", None),
        ("class A:\n    b = 1  # here", None),
        ("def f(a=1):  # here\n    b = a\n    return b", range(2, 4)),
        ("def f():\n    return g(\n        1,  # here\n    )", range(2, 5)),
        ("def f():\n    if (\n        a  # here\n    ):\n        return 1", range(2, 5)),
        ("def f():\n    try:\n        g()\n    except E:\n        return 1  # here", range(5, 6)),
        ("def f():\n    match a:  # here\n        case 1:\n            return 1", range(2, 3)),
    ],
)
def test_a_statement_has_the_lines_that_run_with_it(marked: str, expected: range | None) -> None:
    line = next(number for number, text in enumerate(marked.splitlines(), 1) if "# here" in text)
    assert statement_at(marked, line) == expected


def test_every_module_has_a_share_and_large_ones_a_larger() -> None:
    assert shares([1, 9, 90], 20) == [1, 2, 17]
    assert shares([1, 9, 90], 200) == [1, 9, 90]
    assert shares([5, 5], 1) == [1, 1]


def test_words_types_and_guards_are_left_as_they_are(tmp_path: Path) -> None:
    source = '''
@cached(1)
def f(a: Literal[1]) -> "x":
    """Words 1."""
    print(1 + 2)
    assert a > 1
    for b, c in zip(d, e, strict=True):
        raise E(1 + 2)
    g("words", f"{1 + 2}")
    h = "words"
    return [1]
'''
    (tmp_path / "m.py").write_text(source)
    module = Module(tmp_path, "m.py")
    changed = [_line(mutant) for mutant in module.mutants(range(len(module)))]
    assert changed == ["return [2]"]
