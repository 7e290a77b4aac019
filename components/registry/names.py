"""The short names of a model that people type: live, previous, latest, or the start of a tag. None is ever stored."""

from components.errors import ModelNotFound, NoLiveModel
from components.registry.champion import live_move, previous_move
from components.registry.store import EXACT_TAG, list_stored, store_folder

LIVE, PREVIOUS, LATEST = "live", "previous", "latest"
ALIASES = (LIVE, PREVIOUS, LATEST)
SHOWN = 5  # models that an ambiguous prefix lists


def resolve_tag(name: str) -> str:
    """Find the exact tag that a name stands for.

    Args:
        name: an exact tag, which is returned as it is; `live`; `previous`, the model that a rollback restores;
            `latest`, the newest model of the store; or the start of exactly one tag, with or without "NAME-mlp:".

    Raises:
        NoLiveModel: `live`, and nothing was promoted yet.
        ModelNotFound: no model has this name, or several do.
    """
    if EXACT_TAG.fullmatch(name):
        return name
    if name == LIVE:
        return live_move().tag
    if name == PREVIOUS:
        if move := previous_move():
            return move.tag
        raise NoLiveModel("no model was live before the live one, so there is no previous model")
    if name == LATEST:
        return _find_latest()
    return _find_by_prefix(name)


def _find_latest() -> str:
    readable = [one for one in list_stored() if one.card]
    if not readable:
        raise ModelNotFound("the store has no model; 'fashion train' makes one")
    return readable[-1].tag


def _find_by_prefix(name: str) -> str:
    folder = store_folder()
    tags = sorted(f"{folder.name}:{path.name}" for path in folder.glob("*") if path.is_dir())
    found = [tag for tag in tags if name and (tag.startswith(name) or tag.partition(":")[2].startswith(name))]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        raise ModelNotFound(f"{name!r} is the start of {len(found)} tags: {shown}. Type more of it")
    raise ModelNotFound(
        f"no model {name!r}: expected {', '.join(ALIASES)}, or the start of a tag; 'fashion models' lists them"
    )
