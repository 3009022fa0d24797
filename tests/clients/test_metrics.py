"""/metrics as a real Prometheus, its own checker and its own parser see it, and as the server counts."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest
from conftest import BOUND, PATIENCE, Program, eventually, free_port
from prometheus_client.openmetrics.parser import text_string_to_metric_families

KEYSPACE = '[[keyspace]]\nname = "user"\nmatch = "user:*"\n'


@pytest.fixture
def both(tmp_path):
    """nearside with a key space and with both ports."""
    started = Program(tmp_path, settings={"METRICS_LISTEN": "127.0.0.1:0", "L1_ADMIT": "always"}, config=KEYSPACE)
    found = re.findall(r"side port on 127\.0\.0\.1:(\d+)", started.log.read_text())
    started.public = int(next(port for port in found if int(port) != started.http))
    yield started
    started.stop()


def fetch(port, accept="text/plain"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def load(program):
    """A known number of commands by several clients, one after another; how many of each kind."""
    clients = [program.client(protocol=protocol) for protocol in (2, 3)]
    sent = {"get": 0, "mget": 0, "set": 0, "hget": 0, "hset": 0}
    for n in range(50):
        for client in clients:
            for kind, keys in (("user", "user:%d"), ("default", "other:%d")):
                key = keys % (n % 10)
                client.set(key, n)
                client.get(key)
                client.get(key)
                client.get(keys % -1)
                client.mget(key, keys % 3)
                client.hset("hash:" + kind, "f", n)
                client.hget("hash:" + kind, "f")
                for command, times in (("set", 1), ("get", 3), ("mget", 1), ("hset", 1), ("hget", 1)):
                    sent[command] += times
    return sent


def lease(program):
    """A lease of two resources, which is renewed, and a request for too much."""

    def ask(method, path, body, headers=()):
        url = f"http://127.0.0.1:{program.http}/v1/{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), dict(headers), method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    wants = []
    for name in ("slots", "tokens"):
        ask("PUT", f"pools/{name}", {"capacity": 4})
        wants.append({"type": f"pool:{name}", "amount": 1})
    granted = ask("POST", "allocations", {"resources": wants, "wait_ms": 10000, "component": "ranker"})
    ask("POST", f"allocations/{granted['id']}/renew", {}, {"If-Match": f'"{granted["fence"]}"'})
    with pytest.raises(urllib.error.HTTPError, match="429"):
        ask("POST", "allocations", {"resources": [{"type": "pool:slots", "amount": 4}]})


def calls(program):
    """How often the server was asked for what, by its own count."""
    return {name: row["calls"] for name, row in program.direct().info("commandstats").items()}


class Prometheus:
    """Scrapes these ports, several times a second."""

    def __init__(self, directory, ports):
        config = directory / "prometheus.yml"
        targets = json.dumps([f"127.0.0.1:{port}" for port in ports])
        config.write_text(
            "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
            f"scrape_configs: [{{job_name: nearside, static_configs: [{{targets: {targets}}}]}}]\n"
        )
        self.command = [*BOUND, "prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
        self.command += ["--log.level=warn", "--enable-feature=exemplar-storage"]
        self.log = (directory / "prometheus.log").open("wb")
        self.process = None
        try:
            eventually(self.answers, "Prometheus")
        except BaseException:
            self.stop()
            raise

    def answers(self):
        # Somebody else may have taken the port first.
        if self.process is None or self.process.poll() is not None:
            self.port = free_port()
            address = f"--web.listen-address=127.0.0.1:{self.port}"
            self.process = subprocess.Popen([*self.command, address], stdout=self.log, stderr=self.log)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=PATIENCE) as answer:
            return answer.status == 200

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def api(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def value(self, query):
        """The only value of a query; None where there is none."""
        result = self.api("query", query=query)["result"]
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None


@pytest.fixture
def prometheus(both, tmp_path):
    started = Prometheus(tmp_path, [both.http, both.public])
    yield started
    started.stop()


def test_promtool_finds_nothing_wrong(both):
    load(both)
    lease(both)
    eventually(lambda: "nearside_resource_capacity" in fetch(both.http)[1], "what the ledger says")
    for port in (both.http, both.public):
        _, text = fetch(port)
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        for row in (
            'resource_allocations_total{resource_type="pool:tokens",outcome="granted"} 1',
            'resource_allocations_total{resource_type="pool:slots",outcome="exhausted"} 1',
            'resource_utilization_ratio{resource_type="pool:slots",component="ranker"} 0.25',
            'nearside_resource_capacity{resource_type="pool:slots",scope="cluster"} 4',
        ):
            assert f"\n{row}\n" in text


def test_promtool_would_find_what_is_wrong():
    text = "# TYPE hits counter\nhits 1\n"
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 3 and "_total" in checked.stderr + checked.stdout


def test_openmetrics_is_valid_and_says_the_same(both):
    load(both)
    lease(both)
    kind, text = fetch(both.http, "application/openmetrics-text; version=1.0.0")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(text)}
    kind, plain = fetch(both.public)
    assert kind.startswith("text/plain; version=0.0.4")
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", plain, re.M))
    assert {name.removesuffix("_total") if kind == "counter" else name for name, kind in types.items()} == set(families)
    for name, kind in types.items():
        family = families[name.removesuffix("_total") if kind == "counter" else name]
        assert family.type == kind
        assert family.unit in ("", "seconds", "bytes", "ratio") and family.documentation.endswith(".")
    assert families["process_cpu_seconds"].unit == "seconds"
    # What nobody has counted in between is the same.
    numbers = {row.rsplit(" ", 1)[0]: float(row.rsplit(" ", 1)[1]) for row in plain.splitlines() if row[0] != "#"}
    for sample in families["cache_operations"].samples:
        labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
        assert numbers[f"{sample.name}{{{labels}}}"] == sample.value
    buckets = families["nearside_upstream_request_duration_seconds"].samples
    assert [sample.labels["le"] for sample in buckets if "le" in sample.labels][:2] == ["1e-05", "2.5e-05"]


def test_a_prometheus_scrapes_what_the_client_sent_and_the_server_counts(both, prometheus):
    started = calls(both)
    sent = load(both)
    reads = sent["get"] + sent["mget"] + sent["hget"]
    operations = 'sum(cache_operations_total{{operation="{}",level="{}",instance="127.0.0.1:{}"}})'

    def scraped(operation, level, port=both.http):
        return prometheus.value(operations.format(operation, level, port))

    eventually(lambda: prometheus.value(f'sum(up{{instance="127.0.0.1:{both.public}"}})') == 1, "the other port")
    for port in (both.http, both.public):
        eventually(lambda: scraped("get", "l1", port) == reads, f"{reads} reads")
    assert prometheus.value("sum(up)") == 2
    # Scraped as OpenMetrics, without a complaint.
    targets = prometheus.api("targets")["activeTargets"]
    assert [target["lastError"] for target in targets] == ["", ""]
    metadata = prometheus.api("metadata", metric="nearside_upstream_request_duration_seconds")
    assert metadata["nearside_upstream_request_duration_seconds"][0]["unit"] == "seconds"

    here = f'{{instance="127.0.0.1:{both.http}"}}'
    hits = prometheus.value(f"sum(nearside_l1_hits_total{here})")
    misses = prometheus.value(f"sum(nearside_l1_misses_total{here})")
    assert hits + misses == reads and hits > reads / 10
    # The lane is the only way that these went, and nobody shared a read.
    ended = calls(both)
    counted = {name: ended[f"cmdstat_{name}"] - started.get(f"cmdstat_{name}", 0) for name in sent}
    assert scraped("get", "l2") == misses == counted["get"] + counted["mget"] + counted["hget"]
    assert counted["set"] == sent["set"] and counted["hset"] == sent["hset"]
    fills = prometheus.value(f"sum(nearside_l1_fills_total{here})")
    assert scraped("set", "l1") == fills
    ratio = f'cache_hit_ratio{{level="l1",cache_type="%s",instance="127.0.0.1:{both.http}"}}'
    assert 0 < prometheus.value(ratio % "user") < 1 and 0 < prometheus.value(ratio % "default") < 1
    # The upstream says how many keys it tracks, for us alone.
    name = f"nearside_upstream_tracking_total_items{here}"
    eventually(lambda: prometheus.value(name), "the tracking table")
    assert prometheus.value(name) <= both.direct().info("stats")["tracking_total_items"]


def test_what_commands_took_is_counted_once_for_each(both, prometheus):
    """Durations, errors, writes and null replies."""
    sent = load(both)
    client = both.client()
    for _ in range(7):
        with pytest.raises(Exception, match="WRONGTYPE"):
            client.hget("user:1", "f")
    sent["hget"] += 7
    here = f'instance="127.0.0.1:{both.http}"'

    def took(command):
        return prometheus.value(f'sum(nearside_command_duration_seconds_count{{command="{command.upper()}",{here}}})')

    for command, times in sent.items():
        eventually(lambda: took(command) == times, f"{times} times {command}")
    assert prometheus.value(f'sum(nearside_command_errors_total{{command="HGET",{here}}})') == 7
    hits = prometheus.value(f'sum(nearside_command_duration_seconds_count{{route="l1",{here}}})')
    assert hits == prometheus.value(f"sum(nearside_l1_hits_total{{{here}}})")
    assert prometheus.value(f"sum(nearside_upstream_request_duration_seconds_count{{{here}}})") > 0
    writes = prometheus.value(f'sum(cache_operations_total{{operation="set",level="l2",{here}}})')
    assert writes == sent["set"] + sent["hset"]
    ratio = prometheus.value(f'cache_hit_ratio{{level="l2",cache_type="user",{here}}}')
    assert 0 < ratio < 1
