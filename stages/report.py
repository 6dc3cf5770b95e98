"""Report: the comparison as a page and a picture."""

from pathlib import Path

from sfddm.files import atomic_file, write_text
from sfddm.pictures import png
from sfddm.report.render import picture, to_markdown
from sfddm.report.table import make_table
from sfddm.spec.read import load_spec
from stages.harness import main

REPORTS = Path("reports")


def report(spec_name: str) -> None:
    """Write `reports/SPEC.md` and `reports/SPEC.png`."""
    spec = load_spec(spec_name)
    write_text(REPORTS / f"{spec.name}.md", to_markdown(spec, make_table(spec)))
    with atomic_file(REPORTS / f"{spec.name}.png") as partial:
        partial.write_bytes(png(picture(spec)))


if __name__ == "__main__":
    main(report, "spec")
