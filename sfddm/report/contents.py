"""All that a report shows, gathered once for its page and its Markdown."""

from attrs import frozen

from sfddm.pipeline.rows import Row, load_rows
from sfddm.report.charts import Chart, charts_of
from sfddm.report.gallery import Gallery, galleries_of
from sfddm.report.table import Table, make_table
from sfddm.spec.experiment import Spec


@frozen(kw_only=True)
class Contents:
    """A comparison with its figures."""

    spec: Spec
    rows: list[Row]
    """In the spec's order."""
    table: Table
    charts: list[Chart]
    galleries: list[Gallery]

    def figures(self) -> dict[str, bytes]:
        """The figures by file name."""
        strips = [strip for gallery in self.galleries for _, group in gallery.groups for strip in group]
        charts = {f"{chart.name}.svg": chart.svg for chart in self.charts}
        return {**charts, **{f"{strip.name}.png": strip.png for strip in strips}}


def contents_of(spec: Spec) -> Contents:
    """Read the results of a spec and draw its figures.

    Raises:
        UserError: a run has not been evaluated yet.
    """
    rows = load_rows(spec)
    table = make_table(spec, rows)
    charts, galleries = charts_of(spec, rows), galleries_of(spec, table.groups)
    return Contents(spec=spec, rows=rows, table=table, charts=charts, galleries=galleries)
