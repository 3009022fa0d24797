"""The program as its operator sees it: drains, the side port, memory, the loss of the upstream."""

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import PATIENCE, Program, eventually, raw


@pytest.mark.parametrize("depth", [1, 16])
def test_redis_benchmark(program, depth):
    command = ["redis-benchmark", "-p", str(program.port), "-n", "3000", "-P", str(depth), "-q"]
    ran = subprocess.run([*command, "-t", "get,set,incr,lpush,mset"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0
    assert ran.stdout.count("requests per second") == 5 and "rror" not in ran.stdout + ran.stderr


def test_upstream_lost_and_back(program):
    client = program.client()
    client.set("k", 1)
    program.stop_upstream()
    eventually(lambda: b"UNAVAILABLE" in raw(program.port, b"GET other\r\n"), "the loss to be seen")
    program.start_upstream()
    eventually(lambda: program.client().set("k", 2), "service again")
    assert program.client().get("k") == b"2"


def test_drain_answers_what_was_sent(program):
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"
        connection.sendall(b"INCR n\r\n" * 1000)
        received = connection.recv(1)
        program.process.send_signal(signal.SIGTERM)
        while chunk := connection.recv(1 << 16):
            received += chunk
    assert received == b"".join(b":%d\r\n" % n for n in range(1, 1001))
    assert program.process.wait(timeout=PATIENCE) == 0
    assert not program.socket.exists()


@pytest.mark.parametrize("mode", ["on", "off"])
def test_drain_of_dedicated_connections(tmp_path, mode):
    """With L1 off as well nobody looks at the bytes; every reply to what was sent comes all the same, and then the end."""
    program = Program(tmp_path, settings={"SHARING": "dedicated", "L1_MODE": mode})
    try:
        with program.client().pubsub() as subscriber, socket.socket() as connection:
            subscriber.subscribe("news")
            assert subscriber.get_message(timeout=PATIENCE)["data"] == 1
            connection.settimeout(PATIENCE)
            connection.connect(("127.0.0.1", program.port))
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
            connection.sendall(b"INCR n\r\n" * 1000)
            received = connection.recv(1)
            program.process.send_signal(signal.SIGTERM)
            while chunk := connection.recv(1 << 16):
                received += chunk
            assert received == b"".join(b":%d\r\n" % n for n in range(1, 1001))
            assert program.process.wait(timeout=PATIENCE) == 0
            assert "drain_timeout" not in program.log.read_text()
    finally:
        program.stop()


def test_drain_does_not_wait_for_subscribers(program):
    pubsub = program.client().pubsub()
    pubsub.subscribe("c")
    assert pubsub.get_message(timeout=PATIENCE)["data"] == 1
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(timeout=PATIENCE) == 0
    assert "drain_timeout" not in program.log.read_text()


def test_side_port(program):
    for path in ("liveness", "readiness", "startup", "metrics", "config"):
        answer = raw(program.http, f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200"), path


def test_large_reply_stays_out_of_memory(program):
    """A 512 MiB value to a client that reads slowly, while others go on."""
    size = 512 << 20
    program.direct().setrange("big", size - 1, "x")
    status = Path(f"/proc/{program.process.pid}/status")

    def resident():
        return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) << 10

    other = program.client()
    other.incr("n")
    idle = peak = resident()
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET big\r\n")
        left = size + len(f"${size}\r\n\r\n")
        progress = 0
        while left > 0:
            chunk = connection.recv(1 << 20)
            assert chunk, "cut off"
            left -= len(chunk)
            if left % 16 == 0:
                progress += other.incr("n") > 0
                peak = max(peak, resident())
        assert left == 0 and progress > 10
    assert peak < idle + (32 << 20)
