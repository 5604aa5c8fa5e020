"""Becomes the embedded server, after making sure that it dies with its parent and is the only one.

Run by path in an interpreter of its own (``python -I -S launcher.py``), so it imports the standard library
only. Between fork and exec of a process with threads Python code is not safe, therefore the child first
becomes this program, and this program becomes the server; the process id stays.

Arguments: process id of the parent · path of the fence · the server's binary · its arguments.

The *fence* is a file that the running server holds locked: whoever wants to start a server on the same
folder waits for it. It names its holder, who is asked to go, and then made to: only the keeper of a folder
launches servers, so another one on it has lost its keeper.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
# Seconds after which the holder of the fence is asked to end, is made to end, and is given up.
ASK, MAKE, GIVE_UP = 0.5, 2.0, 5.0


def main(parent: int, fence: str, command: list[str]) -> None:
    """Replace this process with ``command``; return only to say that it could not be done."""
    if sys.platform == "linux":
        # SIGKILL, because a server that is asked can refuse, and then it would be left behind
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that wanted a server has ended")
    hold(fence)
    os.execv(command[0], command)  # noqa: S606  no shell is wanted


def hold(fence: str) -> None:
    """Lock the fence for the rest of this process's life, whatever program it becomes."""
    descriptor = os.open(fence, os.O_RDWR | os.O_CREAT, 0o600)
    start = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            waited = time.monotonic() - start
            if waited > GIVE_UP:
                sys.exit(f"another server holds {fence} and does not end")
            if waited > ASK:
                end(int(os.pread(descriptor, 20, 0) or 0), signal.SIGKILL if waited > MAKE else signal.SIGTERM)
            time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    os.set_inheritable(descriptor, True)


def end(process: int, how: signal.Signals) -> None:
    """Signal ``process`` if there is one."""
    if process > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, how)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
    except OSError as problem:
        sys.exit(f"cannot run {sys.argv[3]}: {problem}")
