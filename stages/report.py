"""Report: the comparison as one page, and as figures and data that `dvc plots` draws."""

from pathlib import Path

from sfddm.report.contents import contents_of, curve_points, distance_points
from sfddm.report.page import to_html
from sfddm.runtime.files import atomic_folder, write_json, write_text
from sfddm.spec.read import load_spec
from stages.harness import main

REPORTS = Path("reports")


def report(spec_name: str) -> None:
    """Write `reports/SPEC.html` and the folder `reports/SPEC`."""
    spec = load_spec(spec_name)
    contents = contents_of(spec)
    folder = REPORTS / spec.name
    with atomic_folder(folder / "figures") as figures:
        for chart in contents.charts:
            (figures / f"{chart.name}.svg").write_bytes(chart.svg)
    write_json(folder / "distance.json", distance_points(spec, contents.rows))
    write_json(folder / "curves.json", curve_points(spec, contents.rows))
    write_text(REPORTS / f"{spec.name}.html", to_html(contents))


if __name__ == "__main__":
    main(report, "spec")
