"""MLflow's aliases, and what it shows of promotions; both follow from promotions.json."""

from typing import TYPE_CHECKING, get_args

from sfddm.errors import UserError
from sfddm.pipeline.promotions import PROMOTED, PROMOTIONS, Alias, Event, History, Promotion, write_history
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


def _check_alias(client: "MlflowClient", history: History, model: str, alias: str) -> None:
    """Raises: UserError: the alias names another student in MLflow than in the file: somebody else was faster."""
    holder = history.holders().get((model, alias))
    with users_errors():
        named = client.get_registered_model(model).aliases.get(alias)
        keys = {number: key for key, number in versions_by_key(client, model).items()}
    if named is not None and (holder is None or keys.get(str(named)) != holder.content_key):
        raise UserError(
            f"models:/{model}@{alias} is version {named} in MLflow, and {holder.run if holder else 'nothing'} in "
            f"{PROMOTIONS}: somebody promoted elsewhere. `git pull` brings their promotion; if MLflow is wrong, "
            "`sfddm track` sets its aliases as the file has them."
        )


def check_newest(client: "MlflowClient", history: History) -> None:
    """Raises: UserError: MLflow shows promotions that are newer than the file's: it lacks what others did."""
    with users_errors():
        for model in history.models():
            newest = max(event.time for event in history.events if event.model == model)
            found = client.search_model_versions(f"name='{model}'")
            times = [line.split()[0] for version in found for line in version.tags.get(PROMOTED, "").splitlines()]
            if times and max(times) > newest:
                raise UserError(
                    f"MLflow knows of something that happened to {model} at {max(times)}, and {PROMOTIONS} ends with "
                    f"{newest}: `git pull` brings the newer one."
                )


def set_aliases(client: "MlflowClient", history: History, model: str) -> list[Promotion]:
    """Set a model's aliases and the tags of its versions; return the holders of aliases that have no version there.

    Raises:
        UserError: MLflow does not answer, or refuses.
    """
    holders = {alias: history.holders().get((model, alias)) for alias in get_args(Alias)}
    with users_errors():
        versions = versions_by_key(client, model)
        aliases = client.get_registered_model(model).aliases if versions else {}
        for alias, holder in holders.items():
            number = versions.get(holder.content_key) if holder else None
            if number is None and alias in aliases:
                client.delete_registered_model_alias(model, alias)
            elif number is not None and str(aliases.get(alias)) != number:
                client.set_registered_model_alias(model, alias, number)
        # Last: what they say is how others know that their own file lacks something.
        for key, number in versions.items():
            _set_tags(client, model, number, history.tags(model, key))
    return [holder for holder in holders.values() if holder and holder.content_key not in versions]


def _set_tags(client: "MlflowClient", model: str, number: str, tags: dict[str, str]) -> None:
    if not tags:
        return
    present = client.get_model_version(model, number).tags
    for name, text in tags.items():
        if present.get(name) != text:
            client.set_model_version_tag(model, number, name, text)
