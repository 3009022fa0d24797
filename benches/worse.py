"""Never worse than no cache: the upstream's CPU with L1 on, of what it is with L1 off, where reads and writes of few keys
alternate at random; and the CPU of nearside for reads that are not admitted, of what plain forwarding takes. Prints Markdown.

Usage: worse.py PROGRAM [ROUNDS]
"""

import random
import socket
import statistics
import sys

import contenders
from bench import KEYS, pipe

CONNECTIONS = 20
COMMANDS = 100_000
# Of nearside's own CPU: the difference is far below what one pair differs from the next.
PAIRS_A_ROUND = 20
COMMANDS_A_PAIR = 20_000


def encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def alternate(port, seed, writes, keys, commands=COMMANDS):
    """Single commands over several connections at once, each waiting for its reply."""
    chance = random.Random(seed)
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    try:
        for _ in range(commands // CONNECTIONS):
            for connection in connections:
                key = b"key:%012d" % chance.randrange(keys)
                write = chance.random() < writes
                connection.sendall(encode(b"SET", key, b"x" * 100) if write else encode(b"GET", key))
            for connection in connections:
                reply = connection.recv(4096)
                if not reply or reply[:1] == b"-":
                    raise SystemExit(f"got {reply!r}")
    finally:
        for connection in connections:
            connection.close()


def upstream_share(program, rounds, writes, keys):
    found = []
    for round_number in range(rounds):
        spent = {}
        for mode in ("off", "on") if round_number % 2 else ("on", "off"):
            with contenders.redis() as direct, contenders.nearside(program, direct.port, mode, "second-read") as nearside:
                pipe(direct.port, (f"SET key:{n:012d} {'x' * 100}" for n in range(keys)))
                before = direct.cpu_seconds()
                alternate(nearside.port, round_number, writes, keys)
                spent[mode] = direct.cpu_seconds() - before
        found.append(spent["on"] / spent["off"])
    return found


def own_share(program, rounds):
    """Every key is read once, so none is admitted: the second read of a key comes far outside the window. Both are up all the
    time, and take turns."""
    found = []
    with (
        contenders.redis() as direct,
        contenders.nearside(program, direct.port, "off", "second-read") as off,
        contenders.nearside(program, direct.port, "on", "second-read") as on,
    ):
        for pair in range(rounds * PAIRS_A_ROUND):
            spent = {}
            for nearside in (off, on) if pair % 2 else (on, off):
                before = nearside.cpu_seconds()
                alternate(nearside.port, pair, 0, 1000 * KEYS, COMMANDS_A_PAIR)
                spent[nearside] = nearside.cpu_seconds() - before
            found.append(spent[on] / spent[off])
    return found


def shown(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    program = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    print(f"{rounds} rounds, medians (least to most)\n")
    print("| case | with L1 on, of what it is with L1 off |")
    print("|---|---|")
    for writes, keys in ((0.5, 100), (0.2, 100), (0.5, KEYS)):
        case = f"upstream's CPU, {writes:.0%} writes over {keys:,} keys"
        print(f"| {case} | {shown(upstream_share(program, rounds, writes, keys))} |", flush=True)
    found = own_share(program, rounds)
    error = statistics.stdev(found) / len(found) ** 0.5
    case = f"nearside's CPU, reads that are not admitted, -P 1, {len(found)} pairs, mean and its standard error"
    print(f"| {case} | {statistics.fmean(found):.3f} ± {error:.3f} |")


if __name__ == "__main__":
    main()
