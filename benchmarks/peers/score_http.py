"""A client that streams a table to `POST /score` and the response to a file.

python -m benchmarks.peers.score_http < JOB
"""

import time
from pathlib import Path

import httpx
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.peers.score_job import ScoreAnswer, ScoreJob, give, read_job

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
PATIENCE = 600.0  # seconds


def send(job: ScoreJob) -> None:
    """Stream the request and the response.

    Raises:
        httpx.HTTPError: the connection was refused or interrupted.
    """
    kind = {"content-type": PARQUET if job.is_parquet else CSV}
    with Path(job.source).open("rb") as table, Path(job.output).open("wb") as output:
        chunks = iter(lambda: table.read(1 << 20), b"")
        with httpx.stream("POST", f"{job.url}/score", content=chunks, headers=kind, timeout=PATIENCE) as answer:
            if answer.is_error:
                raise SystemExit(answer.read().decode())
            for chunk in answer.iter_bytes():
                output.write(chunk)


def main() -> None:
    """Run the job from standard input."""
    job = read_job()
    began = time.perf_counter()
    send(job)
    seconds = time.perf_counter() - began
    rows = pq.read_metadata(job.output).num_rows if job.is_parquet else pyarrow.csv.read_csv(job.output).num_rows
    give(ScoreAnswer(rows, seconds))


if __name__ == "__main__":
    main()
