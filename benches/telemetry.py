"""What it costs that nearside tells of its work: CPU a request with metrics off, on, and with 1 % of the operations traced, in
turn over many pairs; and the 99th percentile under full load, while somebody scrapes each second and while nobody does. Prints
Markdown.

Usage: telemetry.py PROGRAM [PAIRS]
"""

import csv
import statistics
import subprocess
import sys
import threading
import urllib.request
from contextlib import ExitStack

import contenders
from instructions import OFF, ON

KEYS = 1000
REQUESTS = 400_000
LOADED = 1_500_000
CASES = [("hits, -P 16", "on", "get"), ("forwarded GET, -P 16", "off", "get"), ("forwarded SET, -P 16", "off", "set")]


def load(port, command, requests, depth=16):
    bench = ["redis-benchmark", "-p", str(port), "-c", "20", "-d", "100", "-r", str(KEYS), "-P", str(depth), "--csv"]
    done = subprocess.run(
        [*bench, "-n", str(requests), "-t", command], check=True, capture_output=True, text=True, timeout=300
    )
    return next(csv.DictReader(done.stdout.splitlines()))


def shown(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def cost(program, pairs, mode, command):
    """CPU of one variant, of that of the one before it, pair by pair."""
    with ExitStack() as stack:
        variants = {"off": OFF, "on": ON, "traced": ON | stack.enter_context(contenders.receiver())}
        direct = stack.enter_context(contenders.redis())
        running = {
            name: stack.enter_context(contenders.nearside(program, direct.port, mode, settings=settings))
            for name, settings in variants.items()
        }
        for nearside in running.values():
            load(nearside.port, command, KEYS * 50)
        on, traced, micros = [], [], []
        for number in range(pairs):
            spent = {}
            for name in sorted(running, reverse=number % 2 == 1):
                before = running[name].cpu_seconds()
                load(running[name].port, command, REQUESTS)
                spent[name] = running[name].cpu_seconds() - before
            on.append(spent["on"] / spent["off"])
            traced.append(spent["traced"] / spent["on"])
            micros.append(spent["on"] / REQUESTS * 1e6)
    return f"{statistics.median(micros):.3f} us | {shown(on)} | {shown(traced)}"


def scrape(port, over):
    while not over.wait(1):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            answer.read()


def percentiles(program, rounds):
    """The 99th percentile in milliseconds, without scrapes and with one each second."""
    http = contenders.free_port()
    found = {False: [], True: []}
    with contenders.redis() as direct, contenders.nearside(program, direct.port, "on", http=f"127.0.0.1:{http}") as nearside:
        load(nearside.port, "get", KEYS * 50)
        for number in range(rounds):
            for scraped in (False, True) if number % 2 else (True, False):
                over = threading.Event()
                scraper = threading.Thread(target=scrape, args=(http, over))
                if scraped:
                    scraper.start()
                try:
                    found[scraped].append(float(load(nearside.port, "get", LOADED)["p99_latency_ms"]))
                finally:
                    over.set()
                if scraped:
                    scraper.join()
    return found


def main():
    program = sys.argv[1]
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    print(f"{pairs} pairs, medians (least to most)\n")
    print("| case | CPU a request, metrics on | of metrics off | with 1 % traced, of metrics on |")
    print("|---|---|---|---|")
    for case, mode, command in CASES:
        print(f"| {case} | {cost(program, pairs, mode, command)} |", flush=True)
    found = percentiles(program, max(pairs // 2, 1))
    print("\n| hits, -P 16, as many as go | 99th percentile, ms |")
    print("|---|---|")
    print(f"| nobody scrapes | {shown(found[False])} |")
    print(f"| a scrape each second | {shown(found[True])} |")


if __name__ == "__main__":
    main()
