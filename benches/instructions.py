"""Instructions a request under callgrind, without a machine's noise: what a change costs the data path, by a build of
nearside and another one, or what telling of its work costs, by one build with and without. Prints Markdown.

Usage: instructions.py PROGRAM [BEFORE]
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import contenders

KEYS = 1000
FEW, MANY = 4_000, 64_000
CASES = [
    ("hits, -P 1", "on", "get", 1),
    ("hits, -P 16", "on", "get", 16),
    ("forwarded GET, -P 1", "off", "get", 1),
    ("forwarded GET, -P 16", "off", "get", 16),
    ("forwarded SET, -P 16", "off", "set", 16),
]


# Under callgrind everything takes long.
ON = {"NEARSIDE_SLOW_LOG_THRESHOLD": "off"}
OFF = ON | {"NEARSIDE_METRICS_ENABLED": "false"}


def instructions(program, settings, upstream, mode, command, depth, requests, directory):
    """All that the program carries out from its start to its end."""
    log = directory / "callgrind.log"
    log.unlink(missing_ok=True)
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]
    with contenders.nearside(program, upstream, mode, under=valgrind, settings=settings) as nearside:
        bench = ["redis-benchmark", "-p", str(nearside.port), "-c", "20", "-d", "100", "-r", str(KEYS), "-P", str(depth)]
        for n in (KEYS * 20, requests):
            # The first fills L1, and is the same in each run.
            subprocess.run(bench + ["-n", str(n), "-t", command, "-q"], check=True, capture_output=True, timeout=600)
        nearside.process.terminate()
        nearside.process.wait(60)
    return int(re.search(r"Collected : (\d+)", log.read_text()).group(1))


def main():
    program, *before = sys.argv[1:3]
    if before:
        variants = {"instructions a request": (program, {}), "before": (before[0], {})}
    else:
        variants = {"metrics off": (program, OFF), "metrics on": (program, ON)}
    with contenders.redis() as direct, tempfile.TemporaryDirectory() as directory, contenders.receiver() as traced:
        if not before:
            # What the data path pays. What a span costs besides is bounded, and the exporter's thread pays it.
            variants["and 1 % traced"] = (program, ON | traced | {"NEARSIDE_TRACING_MAX_PER_SECOND": "1"})
        print("| case |", " | ".join(variants), "| ratios |")
        print("|---|" + "---|" * (len(variants) + 1))
        for case, mode, command, depth in CASES:
            costs = []
            for built, settings in variants.values():
                few, many = (
                    instructions(built, settings, direct.port, mode, command, depth, n, Path(directory))
                    for n in (FEW, MANY)
                )
                costs.append((many - few) / (MANY - FEW))
            ratios = [a / b for a, b in ([costs] if before else [costs[1::-1], costs[2:0:-1]])]
            shown = [f"{cost:.0f}" for cost in costs] + [", ".join(f"{ratio:.3f}" for ratio in ratios)]
            print(f"| {case} |", " | ".join(shown), "|", flush=True)


if __name__ == "__main__":
    main()
