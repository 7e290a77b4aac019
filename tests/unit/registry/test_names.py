"""The short names of a model."""

import pytest

from components.contract import ModelCard
from components.errors import ModelNotFound, NoLiveModel
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.names import resolve_tag

pytestmark = pytest.mark.usefixtures("bentoml_home", "settings")


@pytest.fixture
def tags(network: MLP, card: ModelCard) -> list[str]:
    """Three models; the first was live before the second."""
    tags = [store.save_model(network, card) for _ in range(3)]
    champion.make_live(tags[0], "a test")
    champion.make_live(tags[1], "a test")
    return tags


def test_live_previous_latest_and_an_exact_tag(tags: list[str]) -> None:
    newest = [one.tag for one in store.list_stored()][-1]
    assert [resolve_tag(name) for name in ("live", "previous", "latest", tags[2])] == [
        tags[1],
        tags[0],
        newest,
        tags[2],
    ]


def test_an_exact_tag_is_not_looked_up() -> None:
    assert resolve_tag("fashion-mlp:nothere1") == "fashion-mlp:nothere1"


def test_the_start_of_one_tag_is_enough(tags: list[str]) -> None:
    version = tags[0].partition(":")[2]
    others = [tag.partition(":")[2] for tag in tags[1:]]
    length = next(n for n in range(1, 17) if not any(other.startswith(version[:n]) for other in others))
    assert resolve_tag(version[:length]) == resolve_tag(f"fashion-mlp:{version[:length]}") == tags[0]


def test_the_start_of_several_tags_lists_them(tags: list[str]) -> None:
    with pytest.raises(ModelNotFound, match=r"start of 3 tags: .*Type more of it") as error:
        resolve_tag("fashion-mlp:")
    assert all(tag in str(error.value) for tag in tags)


@pytest.mark.parametrize("name", ["", "lates", "fashion-mlp:0000", "Live"])
def test_what_names_no_model_says_what_would(tags: list[str], name: str) -> None:
    with pytest.raises(ModelNotFound, match="expected live, previous, latest, or the start of a tag"):
        resolve_tag(name)


def test_an_empty_store_has_none_of_them() -> None:
    for name, error in (("live", NoLiveModel), ("previous", NoLiveModel), ("latest", ModelNotFound)):
        with pytest.raises(error):
            resolve_tag(name)
