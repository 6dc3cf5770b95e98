"""The comparison as Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from sfddm.report import advice, costs
from sfddm.report.columns import (
    basis_of_scorer,
    columns_of,
    columns_of_scorer,
    explanations,
    explanations_of_scorers,
)
from sfddm.report.contents import Contents
from sfddm.report.gallery import Gallery
from sfddm.report.table import Table


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def to_markdown(contents: Contents) -> str:
    """The whole text."""
    return "\n".join(_lines(contents)) + "\n"


def _lines(contents: Contents) -> Iterator[str]:
    spec, table = contents.spec, contents.table
    yield from (f"# {spec.name}", "", advice.headline(spec, table), "")
    yield from (*markdown_table(advice.COLUMNS, (each.cells() for each in advice.advice(table))), "")
    columns = columns_of(table)
    header = ["student", *(column.name for column in columns), "content key"]
    rows = [
        [entry.label, *(column.text(entry) for column in columns), ", ".join(row.content_key for row in entry.rows)]
        for entry in table.entries
    ]
    yield from markdown_table(header, rows)
    yield from ("", " ".join([*table.warnings, *explanations(table, columns)]), "")
    for scorer in table.panel:
        yield from _by_scorer(table, scorer)
    yield from (" ".join(explanations_of_scorers(table)), "")
    for chart in contents.charts:
        yield from (
            f"## {chart.title}",
            "",
            f"![{chart.title}]({_path(contents, chart.name)}.svg)",
            "",
            chart.caption,
            "",
        )
    for gallery in contents.galleries:
        yield from _gallery(contents, gallery)
    trained = costs.cost_rows(spec, table.entries)
    if trained:
        yield from (
            "## Cost",
            "",
            *markdown_table(list(costs.COLUMNS), trained),
            "",
            costs.MEANING,
            "",
            costs.resampled(spec),
            "",
        )
    yield f"Made by `dvc repro report@{spec.name}`. The same as one page: `reports/{spec.name}.html`."


def _by_scorer(table: Table, scorer: str) -> Iterator[str]:
    columns = columns_of_scorer(table, scorer)
    yield from (f"## Scorer {scorer}", "", basis_of_scorer(table.shared, scorer), "")
    rows = [[entry.label, *(column.text(entry) for column in columns)] for entry in table.entries]
    yield from markdown_table(["student", *(column.name for column in columns)], rows)
    yield ""


def _gallery(contents: Contents, gallery: Gallery) -> Iterator[str]:
    yield from (f"## {gallery.title}", "", gallery.caption, "")
    for heading, strips in gallery.groups:
        rows = [
            [f"{strip.label}<br>{strip.detail}", f"![{strip.label}]({_path(contents, strip.name)}.png)"]
            for strip in strips
        ]
        yield from (*markdown_table([heading, ""], rows), "")


def _path(contents: Contents, name: str) -> str:
    return f"{contents.spec.name}/figures/{name}"
