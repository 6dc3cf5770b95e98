"""What pytest is told in the process that runs tests: to record what they run, or to end at the first that fails."""

import os
import resource
import sys
import time
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from coverage import Coverage

STARTS = frozenset({"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"})
"""The audit events of a process that starts another one."""
LONGEST = 600
"""Seconds of processor time for a test that has not been measured yet."""
Hook = Generator[None, Any, Any]


class StartsProcess(Exception):
    """A fast test starts no process; what one runs is not the mutant."""


class Guard:
    """Ends a test that starts a process (with an error) or computes for too long (with its process)."""

    def __init__(self) -> None:
        self._running = False
        sys.addaudithook(self._refuse)

    def _refuse(self, event: str, _: object) -> None:
        if self._running and event in STARTS:
            raise StartsProcess(event)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Hook:
        allow(self.seconds_of(item))
        self._running = True
        try:
            return (yield)
        finally:
            self._running = False

    def seconds_of(self, item: pytest.Item) -> float:
        """How much processor time a test may take."""
        return LONGEST


def allow(seconds: float) -> None:
    """End this process by a signal once it has computed for so many seconds more."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, hard))


class Judge(Guard):
    """Runs the given tests alone, in the given order, and keeps which one failed first."""

    def __init__(self, tests: Sequence[tuple[str, float]]) -> None:
        super().__init__()
        self._order = {name: position for position, (name, _) in enumerate(tests)}
        self._seconds = dict(tests)
        self.by: str | None = None
        self.why = ""

    def seconds_of(self, item: pytest.Item) -> float:
        return 10 * self._seconds[item.nodeid] + 20

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid]
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.failed and self.by is None:
            self.by, self.why = report.nodeid, _reason(report)


class Recorder(Guard):
    """Tells coverage which test runs, and keeps how long each takes and which of them pass.

    A test's lines are those between its set-up and its tear-down, and those of the fixtures that it shares with other
    tests, whichever of them ran first.
    """

    def __init__(self, coverage: Coverage, package: str) -> None:
        super().__init__()
        self._coverage, self._package = coverage, package
        self._context = ""
        self._shared: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Hook:
        for fixtures in item._fixtureinfo.name2fixturedefs.values():  # type: ignore[attr-defined]
            if fixtures[-1].scope != "function":
                self._shared.setdefault(_context(fixtures[-1]), set()).add(item.nodeid)
        self._forget_results()
        started = time.process_time()
        self._switch(item.nodeid)
        try:
            return (yield from super().pytest_runtest_protocol(item))
        finally:
            self._switch("")
            self.seconds[item.nodeid] = time.process_time() - started

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: "pytest.FixtureDef[Any]") -> Hook:
        before = self._context
        if fixturedef.scope != "function":
            self._switch(_context(fixturedef))
        try:
            return (yield)
        finally:
            self._switch(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.setdefault(report.nodeid, "skipped" if report.skipped else _reason(report))

    def lines(self) -> dict[str, dict[str, list[str]]]:
        """For each file the tests that ran each line, and "" where it ran without a test, when it was imported."""
        data = self._coverage.get_data()
        return {
            os.path.relpath(path): {
                str(line): sorted(set().union(*(self._tests(context) for context in contexts)))
                for line, contexts in data.contexts_by_lineno(path).items()
            }
            for path in data.measured_files()
        }

    def _tests(self, context: str) -> set[str]:
        return (
            self._shared.get(context, {context} if not context.startswith("fixture ") else set()) - self.failed.keys()
        )

    def _switch(self, context: str) -> None:
        self._context = context
        self._coverage.switch_context(context)

    def _forget_results(self) -> None:
        """Empty the functions' caches, so that each test runs all that it depends on."""
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] == self._package:
                for value in vars(module).values():
                    if hasattr(value, "cache_clear"):
                        value.cache_clear()


def _context(fixture: "pytest.FixtureDef[Any]") -> str:
    return f"fixture {fixture.baseid}::{fixture.argname}"


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:300]
