"""Measure the CPU time of each scoring stage: read, predict, and the rest (write, hash, join).

python -m benchmarks.peers.score_stages TAG SOURCE OUTPUT
"""

import json
import sys
import time
from pathlib import Path

import fashion
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.scoring.job import run_job
from components.scoring.precision import choose, one_thread, use
from components.scoring.predict import predict


def main() -> None:
    """Print the seconds of each stage as JSON. Read and predict are measured separately, in one thread."""
    tag, source, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    model = fashion.load_model(tag)
    scorer = use(model, choose(model, "auto"))  # as in `run_job`
    read = open_input(source, TableReading(), model.contract)
    taken = {"read": 0.0, "model": 0.0}
    for part in read.parts():
        blocks = iter(read.read(part))
        while True:
            began = time.thread_time()
            block = next(blocks, None)
            taken["read"] += time.thread_time() - began
            if block is None:
                break
            began = time.thread_time()
            predict(scorer, block.images)
            taken["model"] += time.thread_time() - began
    began = time.process_time()
    run_job(model, source, output, workers=1)
    total = time.process_time() - began
    print(json.dumps({**taken, "write": max(total - sum(taken.values()), 0.0)}))


if __name__ == "__main__":
    with one_thread():
        main()
