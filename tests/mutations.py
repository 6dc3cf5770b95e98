"""Specs that somebody, or something, has damaged: mutations of the valid ones, and what has to become of each."""

import json
import re
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfddm.errors import SpecError, printable
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import resolved
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import structure, unstructure
from sfddm.spec.read import MOST_FAULTS, load_spec
from sfddm.spec.students import Resampled

ROOT = Path(__file__).parents[1]
FILES = {path.stem: path for path in [*sorted((ROOT / "specs").rglob("*.yaml")), ROOT / "tests/tiny.yaml"]}
"""Every spec of the repository."""
TEXTS = {name: path.read_text() for name, path in FILES.items()}
NAMES = [*TEXTS, *["tiny"] * len(TEXTS)]
"""tiny is the quickest to read, so half of all mutations are its own."""
SECONDS = 120
"""After which a mutation counts as hanging, on whatever machine."""
ROOM = 2**30
"""Bytes that reading a spec may take at most."""

VALUES: list[Any] = [
    None, True, False, "", "yes", 0, -1, 1, 2, 3, 7, 63, 64, 65, 1000, 99_999, 100_000, 100_001, 10**9, 10**9 + 1,
    10**12, 2**31 - 1, 2**31, 2**63, 10**30, 0.5, 1.5, 1e-320, 5e-324, 1e308, -0.0, [], {}, [[]],
    [1, 1], {"kind": "uniform"},
    "../x", "/etc/passwd", "a b", "-x", ".", "..", "x\n", "\uff41", "e\u0301", "\u202ex", "con", "x" * 65, "x" * 501,
    "ddim", "uniform", "teacher", "\x1b[2J", "64", "1e3",
]  # fmt: skip
"""What a value is replaced with."""
SNIPPETS = [
    ".inf", ".nan", "1e999999999", "1" + "0" * 400, "1" + "0" * 5000, "0x" + "f" * 300, "0o17", "010", "on", "yes", "~",
    "2001-12-14", "2001-99-99", "!!python/object/apply:os.system ['true']", "!!int abc", "!!float abc", "!!bool abc",
    "!!null abc", "!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "&x [*x]", "*training", "*nowhere", "&a {<<: *a}",
    "{<<: 3}", "{<<: [*training, *training]}", "|\n  x", "'", '"', "{", "[", "}", "]", "@x", "`x`", "%x", "? ", "- ",
    "!", "!<tag:x>", "<<", "=", "\t", '"\\x00"', '"\\ud800"', "\x85", "\u2028", "&training 3",
    "[" * 50, "{a: " * 50, "1:30",
    "1_0",
]  # fmt: skip
"""What is put into the text."""
LAUGHS = "laughs: &a0 [x, x, x, x]\n" + "".join(f"b{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 9))
"""Eight short lines that stand for a hundred million values."""
WRAPPED: list[Callable[[str], str]] = [
    lambda text: "\ufeff" + text,
    lambda text: "%YAML 1.1\n---\n" + text,
    lambda text: "%TAG ! tag:x,2000:\n---\n" + text,
    lambda text: text + "\n---\na: 1\n",
    lambda text: text + "\n...\n",
    lambda text: text + "\0",
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("  ", "\t"),
    lambda text: text + text,
    lambda text: LAUGHS + text,
]
Mutation = tuple[str, bytes]
"""The name of a spec, and what its file holds."""


def reduced(name: str) -> Any:
    """A spec in plain data, with one student of each method and what it is resampled from."""
    spec = load_spec(str(FILES[name]))
    first = {student.method.kind: key for key, student in reversed(spec.students.items())}
    methods = [spec.students[key].method for key in first.values()]
    kept = {*first.values(), *(method.student for method in methods if isinstance(method, Resampled))}
    content = unstructure(spec)
    content["students"] = {key: value for key, value in content["students"].items() if key in kept}
    content["registry"]["students"] = [key for key in content["registry"]["students"] if key in kept]
    return content


PLAIN = {name: reduced(name) for name in TEXTS}


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    """One to three changes of a spec's content or of its text, and sometimes of a byte."""
    name = draw(st.sampled_from(NAMES))
    count = draw(st.integers(1, 3))
    if draw(st.booleans()):
        content = deepcopy(PLAIN[name])
        for _ in range(count):
            draw(st.sampled_from(OF_CONTENT))(draw, content)
        text = json.dumps(content, indent=1)
    else:
        text = TEXTS[name]
        for _ in range(count):
            text = draw(st.sampled_from(OF_TEXT))(draw, text)
    encoded = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0 and encoded:
        position = draw(st.integers(0, len(encoded) - 1))
        encoded = encoded[:position] + bytes([draw(st.integers(0, 255))]) + encoded[position + 1 :]
    return name, encoded


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every mapping with each of its keys, and every list with each of its positions."""
    found: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            found += [(holder, key) for key in keys]
            waiting += [holder[key] for key in keys]
    return found


def _place(draw: st.DrawFn, content: Any) -> tuple[Any, Any]:
    found = places(content)
    return draw(st.sampled_from(found)) if found else ({"": None}, "")


def _delete(draw: st.DrawFn, content: Any) -> None:
    holder, key = _place(draw, content)
    del holder[key]


def _replace(draw: st.DrawFn, content: Any) -> None:
    holder, key = _place(draw, content)
    holder[key] = deepcopy(draw(st.one_of(st.sampled_from(VALUES), st.integers(), st.floats(), st.text(max_size=20))))


def _scale(draw: st.DrawFn, content: Any) -> None:
    numbers = [(holder, key) for holder, key in places(content) if type(holder[key]) in (int, float)]
    if numbers:
        holder, key = draw(st.sampled_from(numbers))
        holder[key] = holder[key] * draw(st.sampled_from([-1, 0, 2, 10, 1000, 10**6, 0.5])) + draw(st.integers(-1, 1))


def _rename(draw: st.DrawFn, content: Any) -> None:
    named = [(holder, key) for holder, key in places(content) if isinstance(holder, dict)]
    if named:
        holder, key = draw(st.sampled_from(named))
        others = [other for _, other in named]
        new = draw(st.one_of(st.sampled_from([*others, "", "../x", key + "s", key[1:], key.upper()]), st.text()))
        holder[new] = holder.pop(key)


def _swap(draw: st.DrawFn, content: Any) -> None:
    (one, key), (other, second) = _place(draw, content), _place(draw, content)
    one[key], other[second] = deepcopy(other[second]), deepcopy(one[key])


def _wrap(draw: st.DrawFn, content: Any) -> None:
    holder, key = _place(draw, content)
    holder[key] = draw(st.sampled_from([[holder[key]], {"kind": holder[key]}, [holder[key]] * 3]))


def _replace_token(draw: st.DrawFn, text: str) -> str:
    tokens = [match.span() for match in re.finditer(r"(?<=[:,\[] )[^\s,{}\[\]]+|[\w-]+(?=:)", text)]
    if not tokens:
        return text
    start, end = draw(st.sampled_from(tokens))
    return text[:start] + draw(st.sampled_from(SNIPPETS)) + text[end:]


def _insert(draw: st.DrawFn, text: str) -> str:
    position = draw(st.integers(0, len(text)))
    return (
        text[:position]
        + draw(st.one_of(st.sampled_from(SNIPPETS), st.characters(), st.text(max_size=8)))
        + text[position:]
    )


def _cut(draw: st.DrawFn, text: str) -> str:
    position = draw(st.integers(0, len(text)))
    return text[:position] + text[position + draw(st.integers(1, 60)) :]


def _move_line(draw: st.DrawFn, text: str) -> str:
    """A line repeated, taken to another place, or moved in or out."""
    lines = text.split("\n")
    line = lines[draw(st.integers(0, len(lines) - 1))]
    position = draw(st.integers(0, len(lines) - 1))
    lines[position] = draw(
        st.sampled_from([line, f"{lines[position]}\n{line}", f"  {lines[position]}", lines[position][1:]])
    )
    return "\n".join(lines)


def _alias(draw: st.DrawFn, text: str) -> str:
    """An anchor at one value and its alias, or a merge of it, at another."""
    values = [match.start() for match in re.finditer(r"(?<=: )\S", text)]
    if len(values) < 2:
        return text
    one, other = sorted(draw(st.lists(st.sampled_from(values), min_size=2, max_size=2)))
    used = draw(st.sampled_from(["*m ", "{<<: *m} ", "[*m, *m] "]))
    return text[:one] + "&m " + text[one:other] + used + text[other + 1 :]


def _around(draw: st.DrawFn, text: str) -> str:
    return draw(st.sampled_from(WRAPPED))(text)


OF_CONTENT = (_delete, _replace, _replace, _scale, _rename, _swap, _wrap)
OF_TEXT = (_replace_token, _replace_token, _insert, _cut, _move_line, _alias, _around)


def outcome(folder: Path, mutation: Mutation) -> str:
    """`refused`, with an error that names the place, or `valid`, which survives all that needs no network."""
    name, content = mutation
    path = folder / f"{name}.yaml"
    path.write_bytes(content)
    try:
        spec = load_spec(str(path))
    except SpecError as error:
        lines = str(error).split("\n")
        assert len(lines) <= MOST_FAULTS + 1
        for line in lines:
            assert line.startswith(str(path)) and printable(line) == line and len(line) < 1500, line
        return "refused"
    survives(spec)
    return "valid"


def survives(spec: Spec) -> None:
    """What a valid spec has to go through without an error."""
    assert structure(unstructure(spec), Spec) == spec
    teacher = spec.teacher
    for name, student in spec.students.items():
        levels = spec.levels(name)
        assert student.method.cost(levels, teacher.noise_schedule, teacher.timesteps).total >= 0
    for run in spec.runs()[:50]:
        assert spec.run(run.student, str(run.seed)) == run
        assert Paths(spec.name).student(run.student, run.seed).parts[:2] == ("runs", spec.name)
        assert Paths(spec.name).parent(spec.parent(run)).parts[:2] == ("runs", spec.name)
        assert resolved(spec, run)["name"] == spec.name


@contextmanager
def limited() -> Iterator[None]:
    """No large allocation, and no end that never comes."""

    def hangs(*_: object) -> None:
        raise AssertionError(f"more than {SECONDS} seconds")

    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = signal.signal(signal.SIGALRM, hangs)
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, before[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, old)


def try_mutations(count: int, folder: Path) -> Counter[str]:
    """How many of `count` mutations were refused, and how many are valid; any other end is an assertion's."""
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(mutations())
    def one(mutation: Mutation) -> None:
        with limited():
            outcomes[outcome(folder, mutation)] += 1

    one()
    return outcomes
