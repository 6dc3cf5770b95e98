"""The commands that README.md and docs/ tell a user to type."""

import re
from pathlib import Path

from tests.project import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
PROGRAMS = "cp|createdb|curl|dvc|export|git|make|mlflow|pip|python|rsync|sfddm"
COMMAND = re.compile(rf"""([A-Z_]+=("[^"]*"|\S+) ?)*(\. |({PROGRAMS})( |$)|(?<=\S)$)""")


def named(page: Path) -> str:
    """How tables name a page."""
    return page.relative_to(ROOT).as_posix()


def commands(page: Path) -> list[str]:
    """The commands of a page's blocks in their order, without comments and without what they print."""
    blocks = [text for language, text in BLOCK.findall(page.read_text()) if language in ("", "bash")]
    lines = (line for text in blocks for line in re.sub(r"\\\n *", "", text).splitlines())
    typed = (re.sub(r"(^|\s+)# .*", "", line).rstrip() for line in lines)
    return [line for line in typed if COMMAND.match(line)]


def yaml_blocks(page: Path) -> list[str]:
    """The YAML that a page shows."""
    return [text for language, text in BLOCK.findall(page.read_text()) if language == "yaml"]
