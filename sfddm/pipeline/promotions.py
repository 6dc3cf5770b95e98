"""promotions.json: every promotion and demotion in their order, kept in git; MLflow's aliases follow from it."""

from pathlib import Path
from typing import Any, Literal

from attrs import evolve, frozen

from sfddm.errors import UserError
from sfddm.runtime.files import LARGEST_JSON, parse_json, read_bytes, write_json
from sfddm.spec.fields import Name
from sfddm.spec.parse import StructureError, structure, unstructure

PROMOTIONS = Path("promotions.json")
"""Beside params.yaml and dvc.lock, which it belongs to: specs/ holds nothing but specs."""
PROMOTED = "sfddm.promotions"
"""The tag of a version with what happened to it, a line an event that begins with its time."""
GATES = "sfddm.gates"
"""The tag with what a version was held against when it was promoted last."""
Alias = Literal["champion", "staging"]


@frozen
class Gate:
    """One gate that a student was held against."""

    name: str
    """The field in the spec's section `promotion`."""
    figure: str
    bound: str
    passed: bool


@frozen(kw_only=True)
class Promotion:
    """An alias was given to a student."""

    kind: Literal["promotion"]
    time: str
    """UTC."""
    model: Name
    alias: Alias
    spec: Name
    run: str
    content_key: str
    commit: str
    """The commit that has spec, code and dvc.lock as they were."""
    figures: dict[str, Any]
    """What the next student is compared with: from `metrics.json`."""
    gates: tuple[Gate, ...]


@frozen(kw_only=True)
class Demotion:
    """An alias was taken away; it names nothing until the next promotion."""

    kind: Literal["demotion"]
    time: str
    model: Name
    alias: Alias
    run: str
    content_key: str
    commit: str


Event = Promotion | Demotion


@frozen(kw_only=True)
class History:
    """All that happened, oldest first."""

    events: tuple[Event, ...] = ()

    def holders(self) -> dict[tuple[str, str], Promotion]:
        """The student that each alias of each model names now."""
        found: dict[tuple[str, str], Promotion] = {}
        for event in self.events:
            if isinstance(event, Promotion):
                found[event.model, event.alias] = event
            else:
                found.pop((event.model, event.alias), None)
        return found

    def models(self) -> list[str]:
        """Every model that something happened to."""
        return sorted({event.model for event in self.events})

    def tags(self, model: str, content_key: str) -> dict[str, str]:
        """What MLflow shows on the version with this content: what happened to it, and what it was held against."""
        own = [event for event in self.events if (event.model, event.content_key) == (model, content_key)]
        lines = [f"{event.time} {event.kind}, {event.alias}, commit {event.commit[:12]}" for event in own]
        gates = next((event.gates for event in reversed(own) if isinstance(event, Promotion)), ())
        shown = [f"{gate.name}: {gate.figure} ({gate.bound})" for gate in gates]
        return {PROMOTED: "\n".join(lines), GATES: "\n".join(shown)} if own else {}

    def and_then(self, event: Event) -> "History":
        """With one event more."""
        return evolve(self, events=(*self.events, event))


def read_history() -> History:
    """What promotions.json holds; nothing where there is none.

    Raises:
        UserError: it is damaged.
    """
    if not PROMOTIONS.exists():
        return History()
    try:
        return structure(parse_json(read_bytes(PROMOTIONS, LARGEST_JSON)), History)
    except (OSError, ValueError, RecursionError, StructureError) as error:
        raise UserError(
            f"{PROMOTIONS} is damaged ({error}): settle the merge conflict in it, or `git checkout {PROMOTIONS}`. "
            "If no commit has the file, delete it: `sfddm track` says what was promoted."
        ) from None


def write_history(history: History) -> None:
    """Write promotions.json anew."""
    write_json(PROMOTIONS, unstructure(history))
