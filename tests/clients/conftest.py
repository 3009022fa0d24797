"""nearside in front of a redis-server of its own, and clients of it, for every test in this folder."""

import os
import re
import socket
import subprocess
import time
import urllib.request

import pytest
import redis

PATIENCE = 15
BINARY = os.environ.get("PROGRAM_UNDER_TEST", "target/debug/nearside")

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


def raw(port, request):
    """What comes back first for these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return connection.recv(1 << 16)


def metrics(program):
    """The side port's numbers, by name with labels, and all of a name together by the name alone."""
    with urllib.request.urlopen(f"http://127.0.0.1:{program.http}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    numbers = {}
    for line in text.splitlines():
        if line.startswith("nearside_"):
            name, value = line.rsplit(" ", 1)
            for key in {name, name.split("{")[0]}:
                numbers[key] = numbers.get(key, 0) + float(value)
    return numbers


def environment(settings):
    return {**os.environ, **{f"NEARSIDE_{name}": value for name, value in settings.items()}}


class Program:
    """nearside with its own redis-server; `settings` are by their names in the environment, without NEARSIDE_, and `config`
    is a file's text."""

    def __init__(self, directory, server=(), settings=None, config=""):
        self.process = self.upstream = None
        self.upstream_port = free_port()
        self.server = ["--port", str(self.upstream_port), *server]
        self.config = directory / "nearside.toml"
        self.config.write_text(config)
        self.settings = {"UPSTREAM": f"redis://127.0.0.1:{self.upstream_port}", **(settings or {})}
        try:
            self.start_upstream()
            self.start(directory)
        except BaseException:
            self.stop()
            raise

    def start_upstream(self):
        command = ["redis-server", *self.server, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.upstream = subprocess.Popen([*BOUND, *command], stdout=subprocess.DEVNULL)
        eventually(self.answers, "redis-server")

    def answers(self):
        return self.direct().ping()

    def stop_upstream(self):
        self.upstream.kill()
        self.upstream.wait()

    def start(self, directory):
        self.log = directory / "nearside.log"
        self.socket = directory / "nearside.sock"
        flags = ["--listen", "127.0.0.1:0", "--listen", f"unix:{self.socket}", "--http", "127.0.0.1:0"]
        flags += ["--config", str(self.config)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*BOUND, BINARY, *flags], stderr=log, env=environment(self.settings))
        port = r"{} on 127\.0\.0\.1:(\d+)"
        self.port = int(eventually(lambda: re.search(port.format("listening"), self.log.read_text()), "nearside")[1])
        self.http = int(eventually(lambda: re.search(port.format("side port"), self.log.read_text()), "http")[1])
        self.started()

    def started(self):
        eventually(lambda: self.client().ping(), "the lane")

    def client(self, **options):
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=PATIENCE, **options)

    def unix_client(self, **options):
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=PATIENCE, **options)

    def direct(self, **options):
        return redis.Redis(host="127.0.0.1", port=self.upstream_port, **options)

    def stop(self):
        for process in (self.process, self.upstream):
            if process is not None:
                process.kill()
                process.wait()


@pytest.fixture
def program(tmp_path):
    started = Program(tmp_path)
    yield started
    started.stop()


@pytest.fixture(params=["tcp-resp2", "tcp-resp3", "unix-resp2", "unix-resp3"])
def connect(request, program):
    """Makes clients of one transport and protocol."""
    transport, protocol = request.param.split("-")
    make = program.client if transport == "tcp" else program.unix_client
    made = []

    def connect(**options):
        made.append(make(protocol=int(protocol[-1]), **options))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def client(connect):
    return connect()
