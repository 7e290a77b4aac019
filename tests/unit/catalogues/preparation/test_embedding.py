"""Photos of a catalogue with a network: a small picture and a vector."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import contract_with, embedding_of, kept_network, make_network
from photos import draw_photo, encode_photo
from PIL import Image

from components.catalogues.preparation import preparation_of
from components.catalogues.preparation.embedding import edge_of, embed
from components.catalogues.preparation.letterbox import letterbox
from components.contract import DataContract, pictures_of
from components.errors import InputError, SettingsError
from components.networks.embedder import embedder_of, remember
from components.readers.images.photos import is_small, read_views, write_png


@pytest.fixture
def contract(tmp_path: Path) -> DataContract:
    return contract_with(kept_network(tmp_path).embedding)


def test_a_photo_becomes_one_record_of_a_picture_and_a_vector(contract: DataContract) -> None:
    picture = Image.fromarray(draw_photo(0, 0))
    assert contract.embedding
    found = embed(picture, contract)
    assert (found.shape, found.dtype) == ((1,), contract.dtype)
    assert np.array_equal(pictures_of(found), letterbox(picture, contract.image))
    assert np.array_equal(found["vector"][0], embedder_of(contract.embedding)(picture))


def test_a_small_png_is_a_photo_like_any_other(contract: DataContract) -> None:
    """A picture of the size that is shown is not a prepared image: it has no vector."""
    content = write_png(draw_photo(0, 0, 16))
    assert not is_small(content, contract)
    assert read_views(content, contract).dtype == contract.dtype


def test_the_network_sees_as_many_pixels_as_it_takes(contract: DataContract) -> None:
    assert edge_of(contract) == 32
    assert contract.embedding
    large = dataclasses.replace(contract, embedding=dataclasses.replace(contract.embedding, side=1024))
    assert edge_of(large) == 1024


def test_the_order_of_pictures_does_not_change_a_vector(contract: DataContract) -> None:
    contents = [encode_photo(draw_photo(label, 1)) for label in range(4)]
    there = [read_views(content, contract).tobytes() for content in contents]
    back = [read_views(content, contract).tobytes() for content in contents[::-1]]
    assert there == back[::-1]


def test_a_vector_that_is_not_finite_is_an_error_of_the_picture(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(make_network())
    (white,) = (one for one in model.graph.initializer if one.name == "white")
    white.CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.float32), "white"))
    content = model.SerializeToString()
    (tmp_path / "infinite.onnx").write_bytes(content)
    contract = contract_with(embedding_of(content))
    assert contract.embedding
    remember(tmp_path / "infinite.onnx", contract.embedding)
    with pytest.raises(InputError, match=r"the network tiny\.onnx \(\w{12}\) returns values that are not finite"):
        embed(Image.fromarray(draw_photo(0, 0)), contract)


def test_a_preparation_and_a_network_must_fit(contract: DataContract) -> None:
    with pytest.raises(SettingsError, match="the preparation 'letterbox' of shop cannot be used with a network"):
        preparation_of(dataclasses.replace(contract, preparation="letterbox"))
    with pytest.raises(SettingsError, match="'embedding' of shop needs a network: name one with --network"):
        preparation_of(dataclasses.replace(contract, embedding=None))
