"""A job computes on one thread, and leaves the number of threads as it was."""

import numpy as np
import torch
from threadpoolctl import threadpool_info

from components.scoring.precision import one_thread


def threads_of_numpy() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_numpy_and_pytorch_are_limited_while_a_job_runs() -> None:
    before = threads_of_numpy(), torch.get_num_threads()
    with one_thread():
        assert (threads_of_numpy(), torch.get_num_threads()) == ({1}, 1)
    assert (threads_of_numpy(), torch.get_num_threads()) == before
