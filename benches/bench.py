"""redis-benchmark through nearside and other proxies (one worker each) and straight to Redis, in turn: ratios to the
direct run of the same round, medians of several rounds; nearside's Unix socket, to its own TCP; and its resident
memory. Prints Markdown. A run during which the machine's host took a part of the CPU time for others is run anew.

Usage: bench.py PROGRAM [ROUNDS [REQUESTS]]; ENVOY names an Envoy to compare with too.
"""

import contextlib
import io
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import contenders

KEYS = 100_000
IDLE_CLIENTS = 1000
# More than this of the CPU time spoils a run; one that is spoilt so often counts all the same.
STOLEN = 0.03
ATTEMPTS = 5


def host():
    """CPU time since the machine started: what its host has taken for others, and all; the unit is the same."""
    times = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return times[7], sum(times)


def benchmark(server, command, depth, requests, unix=None):
    """Requests a second, and the server's CPU in microseconds a request, of the run that was disturbed least."""
    tried = []
    while not tried or tried[-1][0] > STOLEN and len(tried) < ATTEMPTS:
        before = host()
        figures = run_benchmark(server, command, depth, requests, unix)
        stolen, all_of_it = (after - earlier for after, earlier in zip(host(), before))
        tried.append((stolen / all_of_it, figures))
    return min(tried)[1]


def run_benchmark(server, command, depth, requests, unix):
    before = server.cpu_seconds()
    at = ["-s", str(unix)] if unix else ["-p", str(server.port)]
    ran = subprocess.run(
        ["redis-benchmark", *at, "-c", "50", "-d", "100", "-r", str(KEYS), "-n", str(requests)]
        + ["-P", str(depth), "-t", command, "--csv"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    cpu = server.cpu_seconds() - before
    return float(ran.stdout.strip().splitlines()[-1].split(",")[1].strip('"')), cpu / requests * 1e6


def pipe(port, lines):
    text = "".join(f"{line}\r\n" for line in lines)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["redis-cli", "-p", str(port), "--pipe"], input=text, text=True, check=True, **quiet)


def rounds_of(direct, through, command, depth, rounds, requests):
    """For each proxy: of direct's throughput, CPU a request, of direct's CPU; a value for each round."""
    found = {server: ([], [], []) for server in through}
    for number in range(rounds):
        # Each comes first once in a while.
        order = [direct, *through]
        start = number % len(order)
        measured = {server: benchmark(server, command, depth, requests) for server in order[start:] + order[:start]}
        direct_speed, direct_cost = measured[direct]
        for server, (speed, cost, share) in found.items():
            speed.append(measured[server][0] / direct_speed)
            cost.append(measured[server][1])
            share.append(measured[server][1] / direct_cost)
    return found


def compare(direct, through, case, command, rounds, base):
    for depth in (1, 16):
        requests = base * (5 if depth > 1 else 1)
        for server, columns in rounds_of(direct, through, command, depth, rounds, requests).items():
            name = f"{case}, -P {depth}"
            if server.name != "nearside":
                name = f"{server.name}, {name}"
            print(f"| {name} | " + " | ".join(map(shown, columns)) + " |", flush=True)


def shown(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def compare_sockets(nearside, unix, rounds, base):
    """Hits over a Unix socket, to the same over TCP, each first in turn."""
    for depth in (1, 16):
        requests = base * (5 if depth > 1 else 1)
        speed, cost, share = [], [], []
        for number in range(rounds):
            order = (None, unix) if number % 2 else (unix, None)
            measured = {at: benchmark(nearside, "get", depth, requests, at) for at in order}
            speed.append(measured[unix][0] / measured[None][0])
            cost.append(measured[unix][1])
            share.append(measured[unix][1] / measured[None][1])
        print(f"| hits, -P {depth} | " + " | ".join(map(shown, (speed, cost, share))) + " |", flush=True)


def ask(connection):
    connection.sendall(b"PING\r\n")
    if connection.recv(100) != b"+PONG\r\n":
        raise SystemExit("a client was not served")


def settled(server):
    """Resident memory, once it does not change any more."""
    last = None
    while (now := server.resident()) != last:
        last = now
        time.sleep(0.5)
    return now


def memory(server):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    idle = settled(server)
    with contextlib.ExitStack() as open_clients:
        for _ in range(IDLE_CLIENTS):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            ask(open_clients.enter_context(client))
        full = settled(server)
    print(f"| nearside, idle | {idle / 2**20:.1f} MiB |")
    print(f"| nearside, each of {IDLE_CLIENTS:,} idle clients | {(full - idle) / 1024 / IDLE_CLIENTS:.1f} KiB |")


def main():
    program = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    base = int(sys.argv[3]) if len(sys.argv) > 3 else 200_000
    with contenders.redis() as direct, tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        pipe(direct.port, (f"SET key:{n:012d} {'x' * 100}" for n in range(KEYS)))
        print(f"{os.cpu_count()} cores, {rounds} rounds, medians (least to most)\n")
        print("| case | of direct's throughput | CPU a request, us | of direct's CPU |")
        print("|---|---|---|---|")
        unix = directory / "nearside.sock"
        with contenders.nearside(program, direct.port, "on", unix=unix) as nearside:
            pipe(nearside.port, (f"GET key:{n:012d}" for n in range(KEYS)))
            compare(direct, [nearside], "hits", "get", rounds, base)
            sockets = io.StringIO()
            with contextlib.redirect_stdout(sockets):
                compare_sockets(nearside, unix, rounds, base)
        with contextlib.ExitStack() as started:
            servers = [contenders.nearside(program, direct.port, "off")]
            servers += [start(directory, direct.port) for start in (contenders.twemproxy, contenders.haproxy)]
            if os.environ.get("ENVOY"):
                servers.append(contenders.envoy(os.environ["ENVOY"], directory, direct.port))
            for server in servers:
                started.enter_context(server)
            compare(direct, servers, "forwarded GET", "get", rounds, base)
            compare(direct, servers, "forwarded SET", "set", rounds, base)
        print("\n| over a Unix socket | of its own throughput over TCP | CPU a request, us | of that over TCP |")
        print(f"|---|---|---|---|\n{sockets.getvalue()}", end="")
        print("\n| resident memory | |\n|---|---|")
        with contenders.nearside(program, direct.port, "on") as nearside:
            memory(nearside)


if __name__ == "__main__":
    main()
