"""Become the program in the arguments, which on Linux is sent SIGTERM when the process that started it ends.

    python -P components/end_with_parent.py PARENT PROGRAM ARGUMENT...

PARENT is the number of that process; where it is gone already, nothing is started. 0 stands for whichever it is now.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG, SIGTERM = 1, 15


def main(parent: int, program: list[str]) -> None:
    """Become the program."""
    parent = parent or os.getppid()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
