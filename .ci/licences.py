"""Checks `cargo metadata` (on standard input): every package's licence, and that no package comes in two versions."""

import json
import re
import sys
from collections import defaultdict

# A choice (OR) needs one of these; a conjunction (AND) needs all.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}

# Packages that may come in several versions, and why.
TOLERATED = {
    "rand": "fred needs 0.8; opentelemetry-proto's crates 0.9; proptest, in tests alone, 0.10",
    "rand_chacha": "the same",
    "rand_core": "the same",
    "socket2": "fred needs 0.5, tokio and nearside 0.6",
    "syn": "fred's macros, at compile time alone, need 2; serde's 3",
    "getrandom": "ring, for TLS, needs 0.2; opentelemetry-proto's rand 0.3; proptest's, in tests alone, 0.4",
}


def allowed(expression):
    """Whether an SPDX expression can be met from ALLOWED; AND binds closer than OR."""
    words = re.findall(r"[()]|[^\s()/]+|/", expression)
    position = 0

    def peek():
        return words[position] if position < len(words) else None

    def take():
        nonlocal position
        position += 1
        return words[position - 1]

    def one():
        if peek() == "(":
            take()
            met = either()
            if peek() != ")":
                raise ValueError(expression)
            take()
            return met
        name = take()
        if peek() == "WITH":
            take()
            name = f"{name} WITH {take()}"
        return name in ALLOWED

    def both():
        met = one()
        while peek() == "AND":
            take()
            met = one() and met
        return met

    def either():
        met = both()
        # Older packages write a slash for OR.
        while peek() in ("OR", "/"):
            take()
            met = both() or met
        return met

    try:
        met = either()
    except (IndexError, ValueError):
        return False
    return met and position == len(words)


def faults(packages):
    versions = defaultdict(set)
    for package in packages:
        name, version, licence = package["name"], package["version"], package["license"]
        versions[name].add(version)
        if licence is None:
            yield f"{name} {version} names no licence"
        elif not allowed(licence):
            yield f"{name} {version}: licence {licence} is not on the list in .ci/licences.py"
    for name, found in sorted(versions.items()):
        if len(found) > 1 and name not in TOLERATED:
            yield f"{name} comes in several versions: {', '.join(sorted(found))}"
    for name in sorted(TOLERATED):
        if len(versions[name]) < 2:
            yield f"{name} no longer comes in several versions: take it off the list in .ci/licences.py"


def main():
    # The checker must be able to say no.
    assert allowed("(MIT OR GPL-3.0) AND Unicode-3.0") and allowed("MIT/GPL-3.0")
    assert not allowed("GPL-3.0") and not allowed("MIT AND GPL-3.0") and not allowed("(MIT") and not allowed("")
    packages = json.load(sys.stdin)["packages"]
    found = list(faults(packages))
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{len(packages)} packages: licences allowed, no version twice")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
