"""redis-py against the real program in front of a real redis-server, in RESP2 and RESP3."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis

PATIENCE = 15

# What is started with this ends with the thread that started it, also where that is killed.
BOUND = ["setpriv", "--pdeathsig", "KILL"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(probe, what):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            value = probe()
            if value:
                return value
        except (redis.RedisError, OSError):
            pass
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def start_redis(port):
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([*BOUND, *command], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: redis.Redis(host="127.0.0.1", port=port).ping(), "redis-server")
    except BaseException:
        server.kill()
        server.wait()
        raise
    return server


class Program:
    """nearside with its own redis-server."""

    def __init__(self, directory):
        self.process = None
        self.upstream_port = free_port()
        self.upstream = start_redis(self.upstream_port)
        try:
            self.start(directory)
        except BaseException:
            self.stop()
            raise

    def start(self, directory):
        self.log = directory / "nearside.log"
        self.socket = directory / "nearside.sock"
        binary = os.environ.get("PROGRAM_UNDER_TEST", "target/debug/nearside")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *BOUND,
                    *(binary, "--listen", "127.0.0.1:0", "--listen", f"unix:{self.socket}", "--http", "127.0.0.1:0"),
                    *("--upstream", f"redis://127.0.0.1:{self.upstream_port}"),
                ],
                stderr=log,
            )
        port = r"{} on 127\.0\.0\.1:(\d+)"
        self.port = int(eventually(lambda: re.search(port.format("listening"), self.log.read_text()), "nearside")[1])
        self.http = int(eventually(lambda: re.search(port.format("side port"), self.log.read_text()), "http")[1])
        eventually(lambda: self.client().ping(), "the lane")

    def client(self, **options):
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=PATIENCE, **options)

    def direct(self, **options):
        return redis.Redis(host="127.0.0.1", port=self.upstream_port, **options)

    def stop(self):
        for process in (self.process, self.upstream):
            if process is not None:
                process.kill()
                process.wait()


@pytest.fixture
def program(tmp_path):
    started = Program(Path(tmp_path))
    yield started
    started.stop()


@pytest.fixture(params=["resp2", "resp3", "unix"])
def client(request, program):
    if request.param == "unix":
        return redis.Redis(unix_socket_path=str(program.socket), socket_timeout=PATIENCE)
    return program.client(protocol=int(request.param[-1]))


def test_data_types(client):
    assert client.set("s", "v") and client.get("s") == b"v"
    assert client.incrby("n", 5) == 5
    client.mset({"a": 1, "b": 2})
    assert client.mget("a", "b", "none") == [b"1", b"2", None]
    client.hset("h", mapping={"f": 1, "g": 2})
    assert client.hgetall("h") == {b"f": b"1", b"g": b"2"}
    client.rpush("l", 1, 2, 3)
    assert client.lrange("l", 0, -1) == [b"1", b"2", b"3"]
    client.sadd("t", "x")
    assert client.smembers("t") == {b"x"}
    client.zadd("z", {"m": 1.5})
    assert client.zscore("z", "m") == 1.5
    assert [list(pair) for pair in client.zrange("z", 0, -1, withscores=True)] == [[b"m", 1.5]]
    binary = bytes(range(256)) * 8000
    client.set(binary[:300], binary)
    assert client.get(binary[:300]) == binary and client.get(binary[:300]) == binary
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.lpush("s", 1)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NOSUCH", "x")


def test_pipelines_and_transactions(client):
    for transaction in (True, False):
        pipeline = client.pipeline(transaction=transaction)
        for n in range(500):
            pipeline.set(f"k{n}", n).get(f"k{n}")
        assert pipeline.execute()[1::2] == [str(n).encode() for n in range(500)]
    with client.pipeline() as pipeline:
        pipeline.watch("w")
        client.set("w", "elsewhere")
        pipeline.multi()
        pipeline.set("w", "here")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("w") == b"elsewhere"
    assert client.eval("return redis.call('set', KEYS[1], 'script')", 1, "w") == b"OK"
    assert client.get("w") == b"script"


def test_pubsub_and_blocking(program, client):
    pubsub = client.pubsub()
    pubsub.subscribe("c")
    assert pubsub.get_message(timeout=PATIENCE)["data"] == 1
    client.publish("c", "hello")
    assert pubsub.get_message(timeout=PATIENCE)["data"] == b"hello"
    pubsub.close()
    later = threading.Timer(0.1, lambda: program.direct().lpush("q", "late"))
    later.start()
    assert list(client.blpop("q", timeout=PATIENCE)) == [b"q", b"late"]
    later.join()
    assert client.blpop("q", timeout=0.1) is None
    assert client.get("q") is None


def test_cache_follows_writes(program, client):
    client.set("k", 1)
    assert [client.get("k") for _ in range(5)] == [b"1"] * 5
    client.set("k", 2)
    assert client.get("k") == b"2"
    for _ in range(5):
        client.get("k")
    program.direct().set("k", 3)
    eventually(lambda: client.get("k") == b"3", "a write made elsewhere")


def test_databases_are_apart(program, client):
    client.set("k", "zero")
    one = program.client(db=1)
    assert one.get("k") is None
    one.set("k", "one")
    assert client.get("k") == b"zero" and one.get("k") == b"one"


@pytest.mark.parametrize("depth", [1, 16])
def test_redis_benchmark(program, depth):
    command = ["redis-benchmark", "-p", str(program.port), "-n", "3000", "-P", str(depth), "-q"]
    ran = subprocess.run([*command, "-t", "get,set,incr,lpush,mset"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0
    assert ran.stdout.count("requests per second") == 5 and "rror" not in ran.stdout + ran.stderr


def test_upstream_lost_and_back(program):
    client = program.client()
    client.set("k", 1)
    program.upstream.kill()
    program.upstream.wait()
    eventually(lambda: b"UNAVAILABLE" in raw(program.port, b"GET other\r\n"), "the loss to be seen")
    program.upstream = start_redis(program.upstream_port)
    eventually(lambda: program.client().set("k", 2), "service again")
    assert program.client().get("k") == b"2"


def raw(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return connection.recv(1 << 16)


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
