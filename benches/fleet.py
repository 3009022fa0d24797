"""What sidecars cost the upstream, by their number: connections, the memory of its tracking table, CPU a write; what is left
of the table when they are gone; and how old hits are: from the acknowledged overwrite, straight at the upstream, to the last
old read through nearside. Prints Markdown.

Usage: fleet.py PROGRAM
"""

import contextlib
import socket
import subprocess
import sys
import time

import contenders
from bench import pipe

KEYS = 10_000
SIDECARS = (1, 4, 16, 32)
OVERWRITES = 5_000


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")

    def call(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        line = self.replies.readline()
        if line[:1] == b"$":
            return self.replies.read(int(line[1:]) + 2)[:-2]
        return line[1:-2]

    def close(self):
        self.replies.close()
        self.socket.close()


def info(client):
    lines = client.call("INFO", "everything").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def figures(client):
    told = info(client)
    return {name: int(told[name]) for name in ("connected_clients", "tracking_total_keys", "tracking_total_items", "used_memory")}


def overwrite(direct):
    """Microseconds of the upstream's CPU for a SET of each key."""
    before = direct.cpu_seconds()
    pipe(direct.port, (f"SET key:{n:012d} {'y' * 100}" for n in range(KEYS)))
    return (direct.cpu_seconds() - before) / KEYS * 1e6


def fleet(program, sidecars):
    with contenders.redis() as direct, contextlib.ExitStack() as started:
        pipe(direct.port, (f"SET key:{n:012d} {'x' * 100}" for n in range(KEYS)))
        client = Client(direct.port)
        alone = min(overwrite(direct) for _ in range(3))
        before = figures(client)
        running = [started.enter_context(contenders.nearside(program, direct.port, "on")) for _ in range(sidecars)]
        for nearside in running:
            for _ in range(2):
                pipe(nearside.port, (f"GET key:{n:012d}" for n in range(KEYS)))
        full = figures(client)
        pushing = overwrite(direct)
        for nearside in running:
            pipe(nearside.port, (f"GET key:{n:012d}" for n in range(KEYS)))
        started.close()
        time.sleep(0.5)
        gone = figures(client)
        # Written once, a key is forgotten.
        overwrite(direct)
        written = figures(client)
        rows = (full["used_memory"] - before["used_memory"]) / KEYS / sidecars
        connections = (full["connected_clients"] - before["connected_clients"]) / sidecars
        print(
            f"| {sidecars} | {connections:.0f} | {full['tracking_total_items']:,} | {rows:.0f} | {alone:.2f} | {pushing:.2f} "
            f"| {gone['tracking_total_items']:,} | {written['tracking_total_items']:,} |",
            flush=True,
        )
        client.close()


def staleness(program, load):
    """Milliseconds from each acknowledged overwrite to the last old read, none where there was no old read, sorted."""
    with contenders.redis() as direct, contenders.nearside(program, direct.port, "on") as nearside:
        writer, reader = Client(direct.port), Client(nearside.port)
        benchmark = None
        if load:
            command = ["redis-benchmark", "-p", str(nearside.port), "-c", "50", "-r", "100000", "-n", "100000000", "-t", "set,get", "-q"]
            benchmark = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            old = []
            for n in range(OVERWRITES):
                writer.call("SET", "k", n)
                # Held by now, so that what comes next is a hit.
                while int(reader.call("GET", "k")) != n:
                    pass
                reader.call("GET", "k")
                writer.call("SET", "k", -n - 1)
                acknowledged = last = time.perf_counter()
                while int(reader.call("GET", "k")) == n:
                    last = time.perf_counter()
                old.append((last - acknowledged) * 1000)
            return sorted(old)
        finally:
            if benchmark:
                benchmark.kill()
                benchmark.wait()


def main():
    program = sys.argv[1]
    print(f"{KEYS:,} keys, read by every sidecar\n")
    print("| sidecars | connections each | rows | bytes a row | CPU a SET without, us | with pushes | rows when they are gone | when written |")
    print("|---|---|---|---|---|---|---|---|")
    for sidecars in SIDECARS:
        fleet(program, sidecars)
    print(f"\n| age of the last old read of {OVERWRITES:,}, ms | without old reads | median | 99 % | 99.9 % | longest |")
    print("|---|---|---|---|---|---|")
    for case, load in (("idle", False), ("under redis-benchmark", True)):
        old = staleness(program, load)
        at = [old[int(len(old) * share)] for share in (0.5, 0.99, 0.999)]
        cells = " | ".join(f"{age:.2f}" for age in [*at, old[-1]])
        print(f"| {case} | {sum(age == 0 for age in old) / len(old):.0%} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
