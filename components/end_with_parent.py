"""Execute a program that, on Linux, receives SIGTERM when its parent process ends.

    python -P components/end_with_parent.py PARENT PROGRAM ARGUMENT...

PARENT is the parent's process ID, or 0 for the current parent. If the parent has already ended, nothing is started.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG, SIGTERM = 1, 15


def main(parent: int, program: list[str]) -> None:
    """Replace this process with the program."""
    parent = parent or os.getppid()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
