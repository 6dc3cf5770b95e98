"""MLflow's aliases, and what it shows of promotions; both follow from promotions.json."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

from sfddm.errors import UserError
from sfddm.pipeline.promotions import GATES, PROMOTED, PROMOTIONS, Alias, Event, History, Promotion, write_history
from sfddm.tracking.server import connect, users_errors
from sfddm.tracking.versions import versions_by_key

if TYPE_CHECKING:
    from mlflow import MlflowClient


def record(history: History, event: Event) -> History:
    """Put what was decided into promotions.json, then into MLflow; if MLflow refuses, the file stays as it was.

    Raises:
        UserError: MLflow does not answer, refuses, or names another student than the file.
    """
    client = connect()
    _check_alias(client, history, event.model, event.alias)
    after = history.and_then(event)
    existed = PROMOTIONS.exists()
    write_history(after)
    try:
        set_aliases(client, after, event.model)
    except UserError:
        if existed:
            write_history(history)
        else:
            PROMOTIONS.unlink()
        raise
    return after


def confirm(history: History, held: Promotion) -> None:
    """Bring into MLflow what the file says already.

    Raises:
        UserError: MLflow does not answer, refuses, or names another student than the file.
    """
    client = connect()
    _check_alias(client, history, held.model, held.alias)
    set_aliases(client, history, held.model)


RESTORE = f"If {PROMOTIONS} was deleted or changed here, `git restore {PROMOTIONS}` brings back what is committed."


def _check_alias(client: "MlflowClient", history: History, model: str, alias: str) -> None:
    """Raises: UserError: the alias names another student in MLflow than in the file: somebody else was faster."""
    holder = history.holders().get((model, alias))
    with users_errors():
        named = _aliases(client, model).get(alias)
        keys = {number: key for key, number in versions_by_key(client, model).items()}
    if named is not None and (holder is None or keys.get(named) != holder.content_key):
        raise UserError(
            f"models:/{model}@{alias} is version {named} in MLflow, and {holder.run if holder else 'nothing'} in "
            f"{PROMOTIONS}: somebody promoted elsewhere. `git pull` brings their promotion. {RESTORE} If MLflow is "
            "wrong, `sfddm track` says how its aliases become those of the file."
        )


def check_newest(client: "MlflowClient", history: History, models: Iterable[str]) -> None:
    """Raises: UserError: MLflow shows promotions that are newer than the file's: it lacks what others did."""
    for model in models:
        if lines := newer(client, history, model):
            raise UserError(
                f"MLflow knows what happened to {model}, and {PROMOTIONS} does not:\n  " + "\n  ".join(lines) + "\n"
                f"`git pull` brings the newer one. {RESTORE} If nobody has it any more, `sfddm track --overrule` makes "
                "MLflow forget this; then promote again."
            )


def newer(client: "MlflowClient", history: History, model: str) -> list[str]:
    """What MLflow says that happened to a model after all that the file has, a line each, from the oldest."""
    newest = max((event.time for event in history.events if event.model == model), default="")
    with users_errors():
        found = client.search_model_versions(f"name='{model}'")
    lines = [
        f"{line} ({version.tags.get('sfddm.run')})"
        for version in found
        for line in version.tags.get(PROMOTED, "").splitlines()
    ]
    return sorted(line for line in lines if line.split()[0] > newest)


def set_aliases(client: "MlflowClient", history: History, model: str) -> list[Promotion]:
    """Set a model's aliases and the tags of its versions; return the holders of aliases that have no version there.

    Raises:
        UserError: MLflow does not answer, or refuses.
    """
    holders = {alias: history.holders().get((model, alias)) for alias in get_args(Alias)}
    with users_errors():
        versions, aliases = versions_by_key(client, model), _aliases(client, model)
        for alias, holder in holders.items():
            number = versions.get(holder.content_key) if holder else None
            if number is None and alias in aliases:
                client.delete_registered_model_alias(model, alias)
            elif number is not None and aliases.get(alias) != number:
                client.set_registered_model_alias(model, alias, number)
        # Last: what they say is how others know that their own file lacks something.
        _set_tags(client, history, model)
    return [holder for holder in holders.values() if holder and holder.content_key not in versions]


def _aliases(client: "MlflowClient", model: str) -> dict[str, str]:
    """The number of the version that each alias of a model names; none where there is no such model."""
    return {
        alias: str(number)
        for found in client.search_registered_models(f"name='{model}'")
        for alias, number in found.aliases.items()
    }


def _set_tags(client: "MlflowClient", history: History, model: str) -> None:
    for version in client.search_model_versions(f"name='{model}'"):
        wanted = history.tags(model, version.tags.get("sfddm.content_key", ""))
        for name in (PROMOTED, GATES):
            if name not in wanted and name in version.tags:
                client.delete_model_version_tag(model, version.version, name)
            elif name in wanted and version.tags.get(name) != wanted[name]:
                client.set_model_version_tag(model, version.version, name, wanted[name])
