"""From a section's kind to the module that carries it out."""

from typing import Protocol


class Described(Protocol):
    """A section of a spec that says by its `kind` what it is."""

    @property
    def kind(self) -> str:
        """As the YAML has it."""
        ...


def module_name(section: Described) -> str:
    """The file of a method in `sfddm/methods`, or of a data set in `sfddm/data`, without its ending."""
    return section.kind.replace("-", "_")
