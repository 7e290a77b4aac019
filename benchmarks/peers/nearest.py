"""Time searches for the five nearest of n rows, one query at a time, on one thread, with libraries that are installed.

python benchmarks/peers/nearest.py FOLDER NAME: reads rows.npy, queries.npy and expected.npy (the exact answers) in
FOLDER, and prints a JSON object.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

COUNT, ROUNDS = 5, 3
Search = Callable[[Any], Any]  # float32 (units,) -> row numbers


def ours(rows: Any) -> Search:
    """The search of this project."""
    from components.neighbours.search import NearestRows

    index = NearestRows(rows)
    return lambda query: index.nearest(query, COUNT)[0]


def numpy_product(rows: Any) -> Search:
    """All distances by one product."""
    squares = np.einsum("ij,ij->i", rows, rows)

    def search(query: Any) -> Any:
        distances = squares - 2 * (rows @ query)
        found = np.argpartition(distances, COUNT)[:COUNT]
        return found[np.argsort(distances[found], kind="stable")]

    return search


def torch_product(rows: Any, kind: str = "float32") -> Search:
    """The same in PyTorch; rounded products are not exact."""
    import torch

    torch.set_num_threads(1)
    stored = torch.from_numpy(rows).to(getattr(torch, kind))
    squares = torch.from_numpy(np.einsum("ij,ij->i", rows, rows))

    def search(query: Any) -> Any:
        product = torch.mv(stored, torch.from_numpy(query).to(stored.dtype)).float()
        return torch.addcmul(squares, product, torch.tensor(-2.0)).topk(COUNT, largest=False).indices.numpy()

    return search


def faiss_flat(rows: Any) -> Search:
    """Exact search of faiss."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    return lambda query: index.search(query[None], COUNT)[1][0]


def usearch_exact(rows: Any) -> Search:
    """Exact search of usearch."""
    from usearch.index import MetricKind, search

    return lambda query: search(rows, query, COUNT, MetricKind.L2sq, exact=True, threads=1).keys


def hnswlib_graph(rows: Any) -> Search:
    """Approximate search in a graph."""
    import hnswlib

    index = hnswlib.Index("l2", rows.shape[1])
    index.init_index(len(rows), ef_construction=100, M=16)
    index.set_num_threads(1)
    index.add_items(rows)
    index.set_ef(100)
    return lambda query: index.knn_query(query, COUNT)[0][0]


SEARCHES: dict[str, tuple[str, Callable[[Any], Search]]] = {  # name -> its package and how to build it
    "ours": ("numpy", ours),
    "NumPy, float32 product": ("numpy", numpy_product),
    "torch, float32 product": ("torch", torch_product),
    "torch, bfloat16 product": ("torch", lambda rows: torch_product(rows, "bfloat16")),
    "faiss, IndexFlatL2": ("faiss-cpu", faiss_flat),
    "usearch, exact": ("usearch", usearch_exact),
    "hnswlib, ef 100": ("hnswlib", hnswlib_graph),
}


def main() -> None:
    """Time one search and print the result."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    rows, queries, expected = (np.load(folder / f"{one}.npy") for one in ("rows", "queries", "expected"))
    package, build = SEARCHES[name]
    began = time.perf_counter()
    search = build(rows)
    built = time.perf_counter() - began
    taken, used, right = list[float](), list[float](), list[float]()
    for _ in range(ROUNDS):
        for query, wanted in zip(queries, expected, strict=True):
            began, before = time.perf_counter(), time.process_time()
            found = search(query)
            taken.append((time.perf_counter() - began) * 1000)
            used.append((time.process_time() - before) * 1000)
            right.append(len(set(map(int, found)) & set(wanted.tolist())) / COUNT)
    answer = {"median": np.median(taken), "processor": np.median(used), "recall": np.mean(right), "built": built}
    print(json.dumps({**answer, "version": f"{package} {version(package)}"}))


if __name__ == "__main__":
    main()
