"""What .ci/run starts does not outlive it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE = 30
SUPERVISE = [sys.executable, ".ci/supervise.py"]

# Leaves its group and session and has another environment than its parent.
HIDING = "setsid env -i sleep 300 <&- >&- 2>&- & echo $!"


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def run(script):
    return subprocess.run([*SUPERVISE, "sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_the_commands(status):
    ran = run(f"exit {status}")
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, "", "")


def test_a_command_that_is_killed_is_a_failure():
    assert run("kill -9 $$").returncode == 128 + signal.SIGKILL


def test_what_is_left_is_named_ended_and_a_failure():
    ran = run(HIDING)
    pid = ran.stdout.strip()
    assert ran.returncode == 1
    assert re.fullmatch(rf"left running: {pid} .*sleep 300\n", ran.stderr)
    assert not runs(pid)


def test_a_child_whose_parent_was_killed_is_found():
    ran = run(f"sh -c '{HIDING}; kill -9 $PPID; exec sleep 300'")
    assert ran.returncode == 128 + signal.SIGKILL
    assert ran.stderr.count("left running: ") == 2
    assert not runs(ran.stdout.strip())


def test_what_ends_by_itself_is_no_failure():
    ran = run("setsid sleep 0.5 <&- >&- 2>&- &")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all(number):
    command = [*SUPERVISE, "sh", "-c", f"{HIDING}; trap '' TERM INT HUP; while :; do sleep 1; done"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervise:
        pid = supervise.stdout.readline().strip()
        assert runs(pid)
        supervise.send_signal(number)
        assert supervise.wait(timeout=PATIENCE) == 128 + number
        assert not runs(pid)
