"""nearside alloc run at a terminal; the rest of it is in tests/it/allocation/cli."""

import json
import os
import pty
import select
import subprocess
import time

import pytest
from conftest import BINARY, PATIENCE


class Terminal:
    """A command in the foreground of a terminal of its own."""

    def __init__(self, command, environment):
        self.said = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, environment)

    def until(self, words):
        deadline = time.monotonic() + PATIENCE
        while words not in self.said:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.terminal], [], [], left)[0], self.said
            self.said += os.read(self.terminal, 4096)

    def type(self, keys):
        os.write(self.terminal, keys)

    def end(self):
        """What else it says, and its exit code."""
        try:
            while chunk := os.read(self.terminal, 4096):
                self.said += chunk
        except OSError:  # nobody holds the other end any more
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def run(program):
    """Starts a shell script with a lease."""
    environment = {**os.environ, "NEARSIDE_HTTP": f"127.0.0.1:{program.http}"}
    alloc = [BINARY, "alloc"]
    subprocess.run([*alloc, "pool", "set", "p", "--capacity", "1"], env=environment, check=True)

    def run(script):
        return Terminal([*alloc, "run", "--pool", "p=1", "--wait", "10s", "--", "sh", "-c", script], environment)

    yield run
    listed = subprocess.run([*alloc, "list", "--json"], env=environment, check=True, capture_output=True)
    assert json.loads(listed.stdout)["allocations"] == []


def test_what_is_typed_comes_once(run):
    terminal = run("n=0; trap 'n=$((n+1)); echo caught $n.' INT; echo ready; until read a; do :; done; echo got $a; exit 3")
    terminal.until(b"ready")
    # Two signals that come close together may be one.
    for times in range(1, 11):
        terminal.type(b"\x03")
        terminal.until(b"caught %d." % times)
    terminal.type(b"words\n")
    terminal.until(b"got words")
    assert terminal.end() == 3
    assert terminal.said.count(b"caught") == 10


def test_what_is_typed_ends_the_command(run):
    terminal = run("echo ready; read a")
    terminal.until(b"ready")
    terminal.type(b"\x03")
    assert terminal.end() == 130
