"""Instructions a request under callgrind, of one build of nearside and of another, in turn: what a change costs the data
path, without a machine's noise. Prints Markdown.

Usage: instructions.py PROGRAM BEFORE
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import contenders

KEYS = 1000
FEW, MANY = 4_000, 24_000
CASES = [
    ("hits, -P 1", "on", "get", 1),
    ("hits, -P 16", "on", "get", 16),
    ("forwarded GET, -P 1", "off", "get", 1),
    ("forwarded GET, -P 16", "off", "get", 16),
    ("forwarded SET, -P 16", "off", "set", 16),
]


def instructions(program, upstream, mode, command, depth, requests, directory):
    """All that the program carries out from its start to its end."""
    log = directory / "callgrind.log"
    log.unlink(missing_ok=True)
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]
    with contenders.nearside(program, upstream, mode, under=valgrind) as nearside:
        bench = ["redis-benchmark", "-p", str(nearside.port), "-c", "20", "-d", "100", "-r", str(KEYS), "-P", str(depth)]
        for n in (KEYS * 20, requests):
            # The first fills L1, and is the same in each run.
            subprocess.run(bench + ["-n", str(n), "-t", command, "-q"], check=True, capture_output=True, timeout=600)
        nearside.process.terminate()
        nearside.process.wait(60)
    return int(re.search(r"Collected : (\d+)", log.read_text()).group(1))


def main():
    programs = sys.argv[1:3]
    with contenders.redis() as direct, tempfile.TemporaryDirectory() as directory:
        print("| case | instructions a request | before | ratio |")
        print("|---|---|---|---|")
        for case, mode, command, depth in CASES:
            costs = []
            for program in programs:
                few, many = (
                    instructions(program, direct.port, mode, command, depth, n, Path(directory)) for n in (FEW, MANY)
                )
                costs.append((many - few) / (MANY - FEW))
            now, before = costs
            print(f"| {case} | {now:.0f} | {before:.0f} | {now / before:.3f} |", flush=True)


if __name__ == "__main__":
    main()
