"""Runs a command and lets nothing that it started outlive it.

Usage: supervise.py COMMAND [ARGUMENT...]

Orphans come to this process, which makes itself their reaper (prctl(2)): whatever the command started is found by its
parents, also where it left its group and session or wiped its environment, as a redis-server does that writes its
title there. What is left when the command has ended, and does not end by itself in a while, is named, killed, and
makes this fail. SIGTERM, SIGINT and SIGHUP end the command and all that belongs to it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36

# A server's guard needs a moment to see that nobody needs the server any more.
GRACE_SECONDS = 5


class Interrupted(Exception):
    """Holds the signal's number."""


def interrupt(number, _frame):
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def processes():
    """Every process that has not ended, by id: its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state not in "ZX":
                found[int(entry.name)] = int(parent)
    return found


def descendants():
    """What was started here, children before theirs."""
    parents = processes()
    found = [os.getpid()]
    for ancestor in found:
        found.extend(pid for pid, parent in parents.items() if parent == ancestor)
    return found[1:]


def reap():
    """Takes in the children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill_all():
    # Only children are killed, since nobody else can reap those and have their ids given away; theirs come here then.
    while left := descendants():
        parents = processes()
        for pid in left:
            if parents.get(pid) == os.getpid():
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        reap()
    reap()


def named(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


def left_behind():
    deadline = time.monotonic() + GRACE_SECONDS
    while left := descendants():
        if time.monotonic() > deadline:
            return left
        time.sleep(0.05)
        reap()
    return []


def main():
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, interrupt)
    try:
        status = subprocess.Popen(sys.argv[1:]).wait()
        left = left_behind()
    except Interrupted as interrupted:
        kill_all()
        return 128 + interrupted.args[0]
    for pid in left:
        print(f"left running: {pid} {named(pid)}", file=sys.stderr, flush=True)
    kill_all()
    if status < 0:
        return 128 - status
    return status or (1 if left else 0)


if __name__ == "__main__":
    sys.exit(main())
