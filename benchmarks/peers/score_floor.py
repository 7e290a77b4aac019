"""Reference for scoring: only read a table or decode pictures, on two threads.

python -m benchmarks.peers.score_floor < JOB
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.peers.score_job import ScoreAnswer, ScoreJob, give, read_job

THREADS = 2


def decode(path: Path) -> int:
    """Decode one picture."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    return int(picture is not None)


def read(job: ScoreJob) -> int:
    """Read the whole input and return the number of rows."""
    if Path(job.source).is_dir():
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(pool.map(decode, Path(job.source).glob("*.png"), chunksize=64))
    if job.is_parquet:
        return sum(len(batch) for batch in pq.ParquetFile(job.source).iter_batches(1 << 16, columns=["pixels"]))
    table: pa.Table = pyarrow.csv.read_csv(job.source)
    return int(table.num_rows)


def main() -> None:
    """Run the job from standard input."""
    pa.set_cpu_count(THREADS)
    cv2.setNumThreads(1)
    job = read_job()
    began = time.perf_counter()
    give(ScoreAnswer(read(job), time.perf_counter() - began))


if __name__ == "__main__":
    main()
