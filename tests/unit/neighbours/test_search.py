"""The search is exact, whatever the rows look like."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.model.classifier import Classifier
from components.neighbours.search import RANK, ROUNDING, NearestRows
from components.training.train import Trained

Rows = NDArray[np.float32]


def search_all(rows: Rows, query: Rows, count: int) -> tuple[list[int], NDArray[np.float64]]:
    """Brute force in float64; equal distances in the order of the rows."""
    distances = np.sqrt(((rows.astype(np.float64) - query) ** 2).sum(1))
    nearest = np.lexsort([np.arange(len(rows)), distances])[:count]
    return nearest.tolist(), distances[nearest]


def gaussian(random: np.random.Generator) -> Rows:
    """Nothing to gain from a short form: every direction is alike."""
    return random.normal(size=(3000, 64)).astype(np.float32)


def clustered(random: np.random.Generator) -> Rows:
    """Tight classes far from the origin and from each other, like the last layer of a trained network."""
    centres = 1000 + 50 * random.normal(size=(10, 100))
    return (centres[random.integers(0, 10, 5000)] + random.normal(size=(5000, 100))).astype(np.float32)


def sparse(random: np.random.Generator) -> Rows:
    """Activations of a ReLU: mostly zero."""
    return np.maximum(random.normal(size=(4000, 40)) - 1, 0).astype(np.float32)


def flat(random: np.random.Generator) -> Rows:
    """All rows in a plane, so that the rest of each is zero up to rounding."""
    return (random.normal(size=(2000, 2)) @ random.normal(size=(2, 64)) + 7).astype(np.float32)


def uneven(random: np.random.Generator) -> Rows:
    """Units of different sizes."""
    return (random.normal(size=(3000, 48)) * np.logspace(-4, 4, 48)).astype(np.float32)


def narrow(random: np.random.Generator) -> Rows:
    """Fewer units than a short form has."""
    return random.normal(size=(500, RANK // 4)).astype(np.float32)


@pytest.mark.parametrize("make", [gaussian, clustered, sparse, flat, uneven, narrow])
@pytest.mark.parametrize("count", [1, 5, 20])
def test_it_finds_what_brute_force_finds(make: object, count: int) -> None:
    assert callable(make)
    random = np.random.default_rng(count)
    rows: Rows = make(random)
    index = NearestRows(rows)
    own = rows[random.integers(0, len(rows), 20)]
    for query in (*own, *(own + 0.1 * random.normal(size=own.shape)).astype(np.float32), np.zeros_like(own[0])):
        found, distances = index.nearest(query, count)
        expected, measured = search_all(rows, query, count)
        assert found.tolist() == expected
        assert distances == pytest.approx(measured, rel=1e-12)


def test_a_bound_is_never_above_the_distance_by_more_than_the_allowance() -> None:
    """Without the allowance for rounding, a row just as near as the last one could be left out."""
    random = np.random.default_rng(0)
    for make in (gaussian, clustered, sparse, flat, uneven):
        rows = make(random)
        index = NearestRows(rows)
        query = rows[3] + np.float32(0.01)
        bounds, square = index._bounds(query)
        distances = ((rows.astype(np.float64) - query) ** 2).sum(1)
        slack = ROUNDING * (np.sqrt(square) + index.longest) ** 2
        assert (bounds[: len(rows)] + square <= distances + slack).all()


def test_few_rows_are_measured_if_the_rows_have_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    index = NearestRows(clustered(np.random.default_rng(1)))
    measured = list[int]()
    squares = index._squares

    def count(rows: NDArray[np.intp], query: Rows) -> NDArray[np.float64]:
        measured.append(len(rows))
        return squares(rows, query)

    monkeypatch.setattr(index, "_squares", count)
    index.nearest(index.rows[0], 5)
    assert sum(measured) < len(index.rows) / 4


def test_equal_rows_come_in_their_order() -> None:
    rows = np.repeat(np.eye(3, 24, dtype=np.float32), 4, axis=0)
    found, distances = NearestRows(rows).nearest(rows[5], 6)
    assert found.tolist() == [4, 5, 6, 7, 0, 1]
    assert distances[:4].tolist() == [0] * 4


def test_rows_that_are_all_equal_and_fewer_rows_than_wanted() -> None:
    same = np.full((3, 5), 2, np.float32)
    assert NearestRows(same).nearest(same[0] + 1, 20)[0].tolist() == [0, 1, 2]
    assert NearestRows(same[:1]).nearest(same[0], 1)[1].tolist() == [0]


def test_rows_may_be_mapped_from_a_file(tmp_path: Path) -> None:
    rows = clustered(np.random.default_rng(2))
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r", allow_pickle=False)
    assert NearestRows(mapped).nearest(rows[9], 5)[0].tolist() == search_all(rows, rows[9], 5)[0]


def test_it_is_exact_in_the_hidden_layer_of_a_trained_network(
    trained: Trained, card: ModelCard, test_split: Examples
) -> None:
    hidden = Classifier("fashion-mlp:tested1", card, trained.network.to_numpy()).hidden(test_split.images)
    index = NearestRows(hidden[:150])
    for query in hidden[150:]:
        found, _ = index.nearest(query, 5)
        assert found.tolist() == search_all(hidden[:150], query, 5)[0]
