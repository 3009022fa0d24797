"""A flapping upstream under load: how fast clients are answered while the circuit is open, how soon they are served again, and
whether nearside's memory, tasks and descriptors come back to where they were. Prints Markdown.

Usage: outage.py PROGRAM [SECONDS]
"""

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

import contenders

CLIENTS = 40
KEYS = 2000


class Client(threading.Thread):
    """Reads and writes in turn over one connection, which it opens again where it is lost."""

    def __init__(self, port, number, over):
        super().__init__(daemon=True)
        self.port, self.number, self.over = port, number, over
        self.samples = []
        self.lost = 0

    def run(self):
        n = self.number
        while not self.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    replies = connection.makefile("rb")
                    while not self.over.is_set():
                        n += 1
                        self.ask(connection, replies, n)
                        time.sleep(0.002)
            except OSError:
                self.lost += 1
                time.sleep(0.01)

    def ask(self, connection, replies, n):
        key = f"key:{n * 7919 % KEYS:06d}"
        command = f"SET {key} {'x' * 100}\r\n" if n % 4 == 0 else f"GET {key}\r\n"
        began = time.monotonic()
        connection.sendall(command.encode())
        line = replies.readline()
        took = time.monotonic() - began
        if not line:
            raise OSError("closed")
        if line.startswith(b"$") and not line.startswith(b"$-1"):
            replies.read(int(line[1:]) + 2)
        kind = "right"
        if line.startswith(b"-"):
            kind = "circuit open" if b"circuit open" in line else "other error"
        self.samples.append((began, took, kind))


def metric(http, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=5).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def state(near, http):
    status = open(f"/proc/{near.pid}/status").read()
    resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
    return {
        "resident memory, MiB": resident,
        "tasks": metric(http, "nearside_tasks"),
        "open descriptors": len(os.listdir(f"/proc/{near.pid}/fd")),
        "threads": len(os.listdir(f"/proc/{near.pid}/task")),
        "requests in flight": metric(http, "nearside_upstream_requests_in_flight"),
    }


def redis(port):
    command = ["setpriv", "--pdeathsig", "KILL", "redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, **contenders.QUIET)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server
        except OSError:
            time.sleep(0.005)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


ALONE = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
replies = connection.makefile("rb")
for _ in range(20000):
    began = time.perf_counter()
    connection.sendall(b"*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$1\\r\\nv\\r\\n")
    line = replies.readline()
    print((time.perf_counter() - began) * 1000, b"circuit open" in line)
"""


def alone(port):
    """Milliseconds of each answer that says that the circuit is open, to a client in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", ALONE, str(port)], capture_output=True, text=True, check=True, timeout=60)
    answers = (line.split() for line in ran.stdout.splitlines())
    return [float(took) for took, opened in answers if opened == "True"]


def load(port, over):
    clients = [Client(port, n * 101, over) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    return clients


def row(case, samples):
    times = [took * 1000 for _, took, _ in samples]
    print(f"| {case} | {len(times)} | {statistics.median(times):.2f} ms | {percentile(times, 0.99):.2f} ms | {max(times):.1f} ms |")


def main():
    program = sys.argv[1]
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    port, listen, http = (contenders.free_port() for _ in range(3))
    server = redis(port)
    command = ["setpriv", "--pdeathsig", "KILL", program, "--workers", "1", "--listen", f"127.0.0.1:{listen}"]
    command += ["--http", f"127.0.0.1:{http}", "--upstream", f"redis://127.0.0.1:{port}"]
    near = subprocess.Popen(command, **contenders.QUIET)
    over = threading.Event()
    time.sleep(0.5)
    clients = load(listen, over)
    time.sleep(5)
    before = state(near, http)

    # Away for long enough to open the circuit.
    server.kill()
    server.wait()
    struck = time.monotonic()
    time.sleep(3)
    fast = alone(listen)
    time.sleep(max(0, struck + 8 - time.monotonic()))
    server, healed = redis(port), time.monotonic()
    # Probes come further and further apart.
    time.sleep(14)
    samples = [sample for client in clients for sample in list(client.samples)]
    away = [s for s in samples if struck + 2 < s[0] < healed]
    opened = [s for s in away if s[2] == "circuit open"]
    back = min(s[0] + s[1] for s in samples if s[0] > healed and s[2] == "right") - healed
    print(f"{CLIENTS} clients, a GET or SET every 2 ms each; upstream killed for 8 s, then killed once a second for {seconds} s\n")
    print("| answers | number | median | 99th percentile | longest |\n|---|---|---|---|---|")
    row("right, upstream well", [s for s in samples if s[0] < struck and s[2] == "right"])
    row("circuit open", opened)
    row("all while it is away", [s for s in samples if struck < s[0] < healed])

    flapping = time.monotonic()
    highest = 0
    while time.monotonic() < flapping + seconds:
        time.sleep(0.5)
        server.kill()
        server.wait()
        time.sleep(0.5)
        server = redis(port)
        highest = max(highest, state(near, http)["resident memory, MiB"])
    calmed = time.monotonic()
    time.sleep(10)
    after = state(near, http)
    over.set()
    samples = [sample for client in clients for sample in list(client.samples)]
    row("all while it flaps", [s for s in samples if flapping < s[0] < calmed])
    right = [s for s in samples if s[0] > calmed and s[2] == "right"]
    median, p99, most = statistics.median(fast), percentile(fast, 0.99), max(fast)
    print(f"\nA client of its own process, while the circuit was open: {len(fast)} answers, median {median:.3f} ms, "
          f"99th percentile {p99:.3f} ms, longest {most:.2f} ms.")
    print(f"Served again {back * 1000:.0f} ms after it was back from 8 s, {(min(s[0] + s[1] for s in right) - calmed) * 1000:.0f} ms after the flapping.")
    print(f"Connections lost by clients: {sum(client.lost for client in clients)}.\n")
    print("| | before | after |\n|---|---|---|")
    for name in before:
        print(f"| {name} | {before[name]:.1f} | {after[name]:.1f} |")
    print(f"| highest resident memory, MiB | | {highest:.1f} |")
    near.send_signal(signal.SIGTERM)
    near.wait(20)
    server.kill()
    server.wait()


if __name__ == "__main__":
    main()
