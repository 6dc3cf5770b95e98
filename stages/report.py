"""Report: the comparison as a page, a picture and a figure."""

from pathlib import Path

from sfddm.figures.distance import distance_svg
from sfddm.files import atomic_file, write_text
from sfddm.pictures import png
from sfddm.report.render import picture, to_markdown
from sfddm.report.table import make_table
from sfddm.results import load_rows
from sfddm.spec.read import load_spec
from stages.harness import main

REPORTS = Path("reports")


def report(spec_name: str) -> None:
    """Write `reports/SPEC.md`, `reports/SPEC.png` and `reports/SPEC-distance.svg`."""
    spec = load_spec(spec_name)
    write_text(REPORTS / f"{spec.name}.md", to_markdown(spec, make_table(spec)))
    with atomic_file(REPORTS / f"{spec.name}.png") as partial:
        partial.write_bytes(png(picture(spec)))
    write_text(REPORTS / f"{spec.name}-distance.svg", distance_svg(spec, load_rows(spec)))


if __name__ == "__main__":
    main(report, "spec")
