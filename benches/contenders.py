"""What is measured: nearside and the proxies that it is compared with, each with one worker, in front of one Redis."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process that speaks the Redis protocol on `port`; ends with the block, and with this process."""

    def __init__(self, name, port, command, **more):
        self.name, self.port = name, port
        program, *arguments = command
        # Debian has servers where a user's PATH does not lead.
        found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
        if found is None:
            raise SystemExit(f"{program} is not installed")
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", found, *arguments], **QUIET, **more)

    def __enter__(self):
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def wait(self):
        """Until it answers. No inline request: not every proxy takes those."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                    probe.sendall(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
                    if probe.recv(100).startswith(b"$"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit(f"{self.name} does not answer on port {self.port}")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def cpu_seconds(self):
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks)) / 1e9

    def resident(self):
        """Bytes."""
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        raise SystemExit(f"{self.name} has ended")


def redis():
    port = free_port()
    return Server("redis", port, ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""])


def nearside(program, upstream, mode, admit="always", unix=None, under=(), settings=None, http="off"):
    port = free_port()
    command = [*under, program, "--listen", f"127.0.0.1:{port}", "--http", http, "--workers", "1", "--l1", mode]
    if unix:
        command += ["--listen", f"unix:{unix}"]
    environment = os.environ | {"NEARSIDE_L1_ADMIT": admit, "NEARSIDE_L1_MAX_BYTES": "256MiB"}
    environment |= {"NEARSIDE_L1_ENTRY_MAX_TTL": "1h"} | (settings or {})
    return Server("nearside", port, [*command, "--upstream", f"redis://127.0.0.1:{upstream}"], env=environment)


def twemproxy(directory, upstream):
    port, stats = free_port(), free_port()
    pool = {"listen": f"127.0.0.1:{port}", "redis": True, "distribution": "ketama", "hash": "fnv1a_64"}
    pool["servers"] = [f"127.0.0.1:{upstream}:1"]
    lines = [f"  {key}: {value}" for key, value in pool.items() if key != "servers"]
    lines += ["  servers:", *(f"   - {server}" for server in pool["servers"])]
    file = directory / "twemproxy.yml"
    file.write_text("\n".join(["pool:", *lines]).replace("True", "true") + "\n")
    return Server("twemproxy", port, ["nutcracker", "-c", str(file), "-a", "127.0.0.1", "-s", str(stats)])


def haproxy(directory, upstream):
    port = free_port()
    file = directory / "haproxy.cfg"
    file.write_text(
        "global\n  nbthread 1\n  maxconn 4000\n"
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1m\n  timeout server 1m\n"
        f"listen redis\n  bind 127.0.0.1:{port}\n  server redis 127.0.0.1:{upstream}\n"
    )
    return Server("HAProxy", port, ["haproxy", "-db", "-f", str(file)])


def envoy(program, directory, upstream):
    """Its redis_proxy filter, without access log or administration."""
    port = free_port()

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    extensions = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
    proxy = {
        "@type": extensions,
        "stat_prefix": "redis",
        "settings": {"op_timeout": "5s"},
        "prefix_routes": {"catch_all_route": {"cluster": "redis"}},
    }
    chain = {"filters": [{"name": "envoy.filters.network.redis_proxy", "typed_config": proxy}]}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]
    cluster = {"name": "redis", "type": "STATIC", "connect_timeout": "1s"}
    cluster["load_assignment"] = {"cluster_name": "redis", "endpoints": endpoints}
    listener = {"name": "redis", "address": address(port), "filter_chains": [chain]}
    file = directory / "envoy.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    command = [program, "--config-path", str(file), "--concurrency", "1", "--disable-hot-restart"]
    return Server("Envoy", port, [*command, "--log-level", "off"])


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes traces over OTLP, and keeps none."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def receiver():
    """Settings that send 1 % of the operations to a receiver, which is there as long as the block."""
    Receiver.protocol_version = "HTTP/1.1"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield {
                "NEARSIDE_TRACING_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                "NEARSIDE_TRACING_PROTOCOL": "http",
                "NEARSIDE_TRACING_RATIO": "0.01",
                "NEARSIDE_TRACING_SLOW_THRESHOLD": "0s",
            }
        finally:
            server.shutdown()
