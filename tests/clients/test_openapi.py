"""/openapi.json as its specification has it, and answers as it has them."""

import json
import re
import urllib.error
import urllib.request

import pytest
from conftest import PATIENCE, Program, eventually
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate


class Described:
    """A side port, each of whose answers is held against its description."""

    def __init__(self, program):
        self.program = program
        self.base = f"http://127.0.0.1:{program.http}"
        with urllib.request.urlopen(f"{self.base}/openapi.json", timeout=PATIENCE) as answer:
            self.document = json.load(answer)

    def operation(self, method, path):
        for pattern, item in self.document["paths"].items():
            if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", pattern), path) and method.lower() in item:
                return item[method.lower()]
        raise AssertionError(f"{method} {path} is not described")

    def check(self, method, path, status, kind, text):
        response = self.operation(method, path)["responses"].get(str(status))
        assert response is not None, f"{method} {path} does not tell of {status}: {text}"
        content = response.get("content")
        if content is None:
            assert text == ""
            return None
        assert kind in content
        if "json" not in kind:
            return text
        body = json.loads(text)
        schema = {**content[kind]["schema"], "components": self.document["components"]}
        Draft202012Validator(schema).validate(body)
        return body

    def ask(self, method, path, body=None, headers=None):
        """The answer's status and body, as described."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers or {}, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=PATIENCE)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            text = answer.read().decode()
            kind = answer.headers.get("Content-Type")
            return answer.status, self.check(method, path.split("?")[0], answer.status, kind, text)


CONFIG = """
[ledger]
reassert_window = "40ms"
[allocation]
cpu = "2"
memory = "1GiB"
[slow_log]
threshold = "0ms"
"""


@pytest.fixture
def described(tmp_path):
    program = Program(tmp_path, config=CONFIG)
    yield Described(program)
    program.stop()


def test_the_description_is_one(described):
    validate(described.document, cls=OpenAPIV31SpecValidator)
    names = [one["operationId"] for item in described.document["paths"].values() for one in item.values()]
    assert len(set(names)) == len(names)


def test_a_description_that_is_none_is_seen(described):
    del described.document["info"]["version"]
    with pytest.raises(Exception, match="version"):
        validate(described.document, cls=OpenAPIV31SpecValidator)


def test_leases_and_pools_are_answered_as_described(described):
    ask = described.ask
    assert ask("PUT", "/v1/pools/p", {"capacity": 2})[0] == 201
    assert ask("PUT", "/v1/pools/p", {"capacity": 2, "scope": "cluster"})[0] == 200
    wants = {"resources": [{"type": "pool:p", "amount": 2}, {"type": "cpu", "millicores": 1}]}
    lease = {**wants, "wait_ms": 5000, "max_lifetime_ms": 60_000}
    key = {"Idempotency-Key": "k"}
    status, given = ask("POST", "/v1/allocations", lease, key)
    assert status == 201
    assert ask("POST", "/v1/allocations", lease, key)[0] == 200
    assert ask("POST", "/v1/allocations", wants, key)[0] == 422
    assert ask("POST", "/v1/allocations", {**wants, "ttl_ms": 1})[1]["field"] == "ttl_ms"
    assert ask("POST", "/v1/allocations", wants)[1]["used"] == 2
    assert ask("POST", "/v1/allocations", {**wants, "wait_ms": 1})[0] == 504

    status, queued = ask("POST", "/v1/allocations", {**wants, "wait_ms": 60_000}, {"Prefer": "respond-async"})
    waits = f"/v1/allocations/{queued['id']}"
    assert status == 202 and ask("GET", waits)[0] == 202
    assert ask("DELETE", waits, headers={"If-Match": "*"})[0] == 204
    assert ask("GET", waits)[0] == 410

    path, fence = f"/v1/allocations/{given['id']}", {"If-Match": f'"{given["fence"]}"'}
    assert ask("GET", f"{path}?wait=1s")[0] == 200
    assert ask("GET", f"{path}?wait=1")[0] == 400
    assert ask("GET", "/v1/allocations")[1]["allocations"] == [given]
    assert ask("POST", f"{path}/renew")[0] == 428
    assert ask("POST", f"{path}/renew", headers={"If-Match": '"1"'})[0] == 412
    assert ask("POST", f"{path}/renew", headers=fence)[0] == 200
    less = {"resources": [{"type": "memory", "amount_mib": 1}, {"type": "pool:p", "amount": 1}]}
    status, resized = ask("PATCH", path, less, fence)
    assert status == 200
    assert ask("GET", "/v1/pools")[1]["pools"] == [ask("GET", "/v1/pools/p")[1]]
    assert ask("PUT", "/v1/pools/p", {"capacity": 2, "scope": "pod"})[0] == 409
    assert ask("DELETE", "/v1/pools/p")[0] == 409
    assert ask("DELETE", path, headers={"If-Match": f'"{resized["fence"]}"'})[0] == 204
    assert ask("DELETE", path, headers={"If-Match": "*"})[1]["reason"] == "released"
    assert ask("DELETE", "/v1/allocations/x", headers={"If-Match": "*"})[0] == 404
    assert ask("DELETE", "/v1/pools/p")[0] == 204
    assert ask("GET", "/v1/pools/p")[0] == 404


def test_a_lease_that_is_asked_to_leave_is_answered_as_described(described):
    ask = described.ask
    assert ask("PUT", "/v1/pools/p", {"capacity": 2})[0] == 201
    wants = {"resources": [{"type": "pool:p", "amount": 2}], "wait_ms": 5000}
    status, low = ask("POST", "/v1/allocations", {**wants, "priority": 1, "preemptible": True})
    assert (status, low["preempt_at"]) == (201, None)
    high = {**wants, "priority": 1000, "wait_ms": 60_000}
    assert ask("POST", "/v1/allocations", high, {"Prefer": "respond-async"})[0] == 202
    path = f"/v1/allocations/{low['id']}"
    assert eventually(lambda: ask("GET", path)[1]["state"] == "preempting", "a preemption")
    leaves = ask("GET", path)[1]
    assert leaves["preempt_at"] and leaves["preemptible"]
    other = {"resources": [{"type": "cpu", "millicores": 1}]}
    assert ask("PATCH", path, other, {"If-Match": "*"})[1]["expires_at"] == leaves["expires_at"]


def test_the_rest_is_answered_as_described(described):
    ask = described.ask
    for path in [
        "/openapi.json",
        "/config",
        "/metrics",
        "/liveness",
        "/readiness",
        "/startup",
        "/v1/cache/mode",
        "/v1/cache/stats",
        "/v1/metrics/catalogue",
    ]:
        assert ask("GET", path)[0] == 200
    client = described.program.client()
    client.set("big", "x" * 20_000)
    for _ in range(200):
        client.get("big")
    assert eventually(lambda: ask("GET", "/v1/slowlog?count=2&sort=slowest")[1], "slow operations")
    assert eventually(lambda: ask("GET", "/v1/cache/bigkeys")[1], "a big key")

    def hot():
        client.get("big")
        return ask("GET", "/v1/cache/hotkeys?n=3")[1]["keys"]

    assert eventually(hot, "a hot key")
    assert ask("DELETE", "/v1/slowlog")[0] == 200
    assert ask("PUT", "/v1/cache/mode", {"mode": "shadow", "sample": 0.5})[0] == 200
    assert ask("PUT", "/v1/cache/mode", {})[0] == 400
    assert ask("POST", "/v1/cache/invalidate", {"keys": ["a"]})[0] == 200
    assert ask("POST", "/v1/cache/invalidate", {"all": True, "scope": "fleet"})[0] == 409
    node = ask("GET", "/v1/upstreams")[1]["upstreams"][0]["node"].replace(":", "%3A")
    assert ask("POST", f"/v1/upstreams/{node}/breaker", {"state": "forced-open"})[1]["state"] == "forced-open"
    # It has had a step now.
    assert ask("GET", "/v1/upstreams")[0] == 200
    assert ask("POST", f"/v1/upstreams/{node}/breaker", {"state": "open"})[0] == 422
    assert ask("POST", "/v1/upstreams/x/breaker", {"state": "auto"})[0] == 404
    assert ask("POST", "/v1/quit", {"drain": "never"})[0] == 422
    assert ask("POST", "/v1/quit", {"drain": "wait-clients"})[0] == 202
    assert eventually(lambda: ask("GET", "/readiness")[0] == 503, "a drain")
