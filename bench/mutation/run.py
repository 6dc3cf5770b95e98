"""One run of the bench, which goes on where an earlier one of the same sources ended."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from bench.mutation.mutants import Module, Mutant, draw
from bench.mutation.pool import share
from bench.mutation.reach import Reach
from bench.mutation.report import Verdict
from bench.mutation.setup import Setup
from bench.mutation.types import TypeChecker
from sfddm.runtime.files import read_json, write_json
from sfddm.runtime.progress import Status

RECORDING = 3600.0
"""Seconds for one file of tests."""


@frozen
class Sample:
    """Mutants, and how many others mypy refused on the way."""

    mutants: list[Mutant]
    refused: int


@frozen
class Run:
    """What is mutated, and the folder that keeps what is known of it already."""

    setup: Setup
    folder: Path
    jobs: int

    def reach(self) -> Reach:
        """Which tests run which lines; each file of tests runs once."""
        files = {path: self.folder / "recorded" / f"{path.replace('/', '.')}.json" for path in self.setup.test_files()}
        fixed = {
            "targets": [str((self.setup.root / path).resolve()) for path in self.setup.modules()],
            "package": self.setup.package, "marker": self.setup.marker, "seconds": RECORDING,
        }  # fmt: skip
        tasks = [{"file": path, **fixed} for path, known in files.items() if not known.exists()]
        with Status("recording", len(tasks), "files") as status:
            for done, (task, said) in enumerate(share(self.setup, tasks, self.jobs), 1):
                if "lines" not in said:
                    raise SystemExit(f"{task['file']} could not be recorded ({said['ended']}): {said['why']}")
                write_json(files[task["file"]], {name: said[name] for name in ("seconds", "failed", "lines")})
                status.update(done)
        return Reach([read_json(known) for known in files.values()])

    def sample(self, modules: Sequence[Module], count: int, seed: int) -> Sample:
        """Mutants of the modules that mypy has nothing against, drawn once."""
        known = self.folder / f"drawn-{count}-{seed}.json"
        if not known.exists():
            types, drawn = TypeChecker(self.setup, self.folder / "types"), []
            with Status("drawing", count, "mutants") as status:
                for mutant in draw(modules, count, seed, types.passing):
                    drawn.append(mutant)
                    status.update(len(drawn))
            drawn.sort(key=lambda mutant: (mutant.path, mutant.line, mutant.number))
            write_json(known, {"mutants": [asdict(mutant) for mutant in drawn], "refused": types.refused})
        found = read_json(known)
        return Sample([Mutant(**mutant) for mutant in found["mutants"]], found["refused"])

    def verdicts(self, mutants: Sequence[Mutant], reach: Reach, texts: Mapping[str, str]) -> list[Verdict]:
        """What became of each mutant."""
        reaching = {mutant.key: reach.tests(mutant, texts[mutant.path]) for mutant in mutants}
        given = {key: reach.affordable(tests) for key, tests in reaching.items()}
        found = self._judged([mutant for mutant in mutants if given[mutant.key]], given)
        return [
            Verdict(
                mutant=mutant,
                ran=len(given[mutant.key]),
                reaching=len(reaching[mutant.key]),
                **found.get(mutant.key, {"ended": "uncovered", "by": "", "took": 0.0}),
            )
            for mutant in mutants
        ]

    def _judged(
        self, mutants: Sequence[Mutant], given: Mapping[str, list[tuple[str, float]]]
    ) -> dict[str, dict[str, Any]]:
        """How the tests of each mutant ended; a line of a file is appended for each."""
        kept = self.folder / "judged.jsonl"
        lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
        found = {line["key"]: line for line in lines}
        tasks = [
            {
                "key": mutant.key, "path": mutant.path, "source": mutant.source, "tests": given[mutant.key],
                "seconds": 120 + 10 * sum(seconds for _, seconds in given[mutant.key]),
            }
            for mutant in mutants if mutant.key not in found
        ]  # fmt: skip
        with Status("mutants", len(mutants), "mutants") as status, kept.open("a") as file:
            status.go_on(len(mutants) - len(tasks))
            for done, (task, said) in enumerate(share(self.setup, tasks, self.jobs), len(mutants) - len(tasks) + 1):
                line = {"key": task["key"], **{name: said[name] for name in ("ended", "took", "by", "why")}}
                file.write(json.dumps(line) + "\n")
                file.flush()
                found[task["key"]] = line
                status.update(done)
        return {key: {name: line[name] for name in ("ended", "by", "took")} for key, line in found.items()}
