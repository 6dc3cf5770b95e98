"""What is said of a version in several files is the same."""

import re
import sys
import tomllib

from ruamel.yaml import YAML

from tests.project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_changes_and_the_citation_are_of_the_packages_version() -> None:
    changes = re.findall(r"^## ([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert changes[0] == cited["version"] == PROJECT["version"]
    assert cited["license"] == PROJECT["license"]


def test_this_python_is_one_that_the_package_is_said_to_run_on() -> None:
    name = f"Programming Language :: Python :: {sys.version_info.major}.{sys.version_info.minor}"
    assert name in PROJECT["classifiers"], "add it, once all tests hold there"
