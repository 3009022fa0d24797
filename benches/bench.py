"""redis-benchmark through nearside (one worker) and straight to Redis, in turn: ratios from pairs, medians of several.

Usage: bench.py PROGRAM [ROUNDS [REQUESTS]]
"""

import os
import socket
import statistics
import subprocess
import sys
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(100).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"nothing answers on port {port}")


def cpu_seconds(pid):
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0]) for task in tasks) / 1e9


def benchmark(port, command, depth, requests):
    """Requests a second."""
    ran = subprocess.run(
        ["redis-benchmark", "-p", str(port), "-c", "50", "-d", "100", "-r", "100000", "-n", str(requests)]
        + ["-P", str(depth), "-t", command, "--csv"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return float(ran.stdout.strip().splitlines()[-1].split(",")[1].strip('"'))


def main():
    program = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    base = int(sys.argv[3]) if len(sys.argv) > 3 else 200_000
    upstream_port = free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    upstream = subprocess.Popen(["redis-server", "--port", str(upstream_port), "--save", ""], **quiet)
    started = [upstream]
    try:
        wait_for(upstream_port)
        load = "".join(f"SET key:{n:012d} {'x' * 100}\r\n" for n in range(100_000))
        subprocess.run(["redis-cli", "-p", str(upstream_port), "--pipe"], input=load, text=True, check=True, **quiet)
        print(f"{os.cpu_count()} cores, {rounds} rounds, medians (least to most)\n")
        print("| case | of direct's throughput | CPU a request, us | of direct's CPU |")
        print("|---|---|---|---|")
        cases = [("hits", "on", "get"), ("forwarded GET", "off", "get"), ("forwarded SET", "off", "set")]
        for name, mode, command in cases:
            port = free_port()
            environment = os.environ | {"NEARSIDE_L1_ADMIT": "always", "NEARSIDE_L1_MAX_BYTES": "256MiB"}
            environment |= {"NEARSIDE_L1_ENTRY_MAX_TTL": "1h"}
            nearside = subprocess.Popen(
                [program, "--listen", f"127.0.0.1:{port}", "--http", "off", "--workers", "1", "--l1", mode]
                + ["--upstream", f"redis://127.0.0.1:{upstream_port}"],
                env=environment,
                **quiet,
            )
            started.append(nearside)
            wait_for(port)
            if mode == "on":
                warm = "".join(f"GET key:{n:012d}\r\n" for n in range(100_000))
                subprocess.run(["redis-cli", "-p", str(port), "--pipe"], input=warm, text=True, check=True, **quiet)
            for depth in (1, 16):
                requests = base * (5 if depth > 1 else 1)
                speed, cost, share = [], [], []
                for _ in range(rounds):
                    before = cpu_seconds(upstream.pid)
                    direct = benchmark(upstream_port, command, depth, requests)
                    direct_cpu = cpu_seconds(upstream.pid) - before
                    before = cpu_seconds(nearside.pid)
                    through = benchmark(port, command, depth, requests)
                    cpu = cpu_seconds(nearside.pid) - before
                    speed.append(through / direct)
                    cost.append(cpu / requests * 1e6)
                    share.append(cpu / direct_cpu)
                cells = [f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in (speed, cost, share)]
                print(f"| {name}, -P {depth} | " + " | ".join(cells) + " |", flush=True)
            nearside.terminate()
            nearside.wait()
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait()


if __name__ == "__main__":
    main()
