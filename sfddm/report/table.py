"""The comparison as a table: its rows, its columns' texts, and what all figures rest on."""

from typing import Any

from attrs import frozen

from sfddm.pipeline.rows import Row
from sfddm.report.columns import Column
from sfddm.report.entries import Entry, entries_of
from sfddm.spec.experiment import Spec


@frozen(kw_only=True)
class Table:
    """The rows, and what they share."""

    groups: list[list[Entry]]
    """One list of rows for each number of steps, falling; in it the lowest distance first."""
    shared: dict[str, Any]
    """Some row's `metrics.json`: scorer, noises, samples and the teacher's figures are the same in all."""
    basis: str
    """What all figures rest on."""

    @property
    def entries(self) -> list[Entry]:
        """All rows in the table's order."""
        return [entry for group in self.groups for entry in group]

    @property
    def warnings(self) -> list[str]:
        """What the evaluation says is amiss with the figures; empty where nothing is."""
        return [f"Beware: {warning}." for warning in self.shared["notes"]]

    def notes(self, columns: tuple[Column, ...]) -> list[str]:
        """What these columns mean, with the figures that they rest on."""
        known = {**self.shared, "blocks": len(self.shared["frechet_blocks"])}
        return [*(column.note.format_map(known) for column in columns if column.note), self.basis]


def make_table(spec: Spec, rows: list[Row]) -> Table:
    """The comparison of one spec, from the rows of all of its runs."""
    return Table(groups=entries_of(spec, rows), shared=rows[0].metrics, basis=_basis(spec))


def _basis(spec: Spec) -> str:
    timesteps, reference = spec.teacher.timesteps, spec.evaluation.reference
    levels = len(spec.levels_of(reference.index_set))
    return f"The teacher has {timesteps} levels, and its {reference.solver} on {levels} of them stands for all."
