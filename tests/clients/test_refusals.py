"""Upstreams that refuse what nearside asks of them: they are forwarded to all the same, visibly without L1."""

import pytest
import redis
from conftest import PATIENCE, Program, eventually, metrics


def acl(rights):
    return ["--user", *f"default on nopass ~* &* +@all {rights}".split()]


# What is refused, what the log says then, and the lanes that are up: tracked, and not tracked.
REFUSALS = {
    "nothing": ([], None, (1, 0)),
    # A right that Redis itself takes from nobody.
    "HELLO": (["--rename-command", "HELLO", ""], "no lane: L1 is off", (0, 0)),
    "CLIENT by its rights": (acl("-client"), "L1 is off: ", (0, 1)),
    "CLIENT by its name": (["--rename-command", "CLIENT", ""], "L1 is off: ", (0, 1)),
    "CLIENT TRACKING": (acl("-client|tracking"), "L1 is off: ", (0, 1)),
    "CLIENT CACHING": (acl("-client|caching"), "L1 is off: ", (0, 1)),
    "CLIENT SETNAME and NO-EVICT": (acl("-client|setname -client|no-evict"), None, (1, 0)),
    "COMMAND": (acl("-command"), None, (1, 0)),
    "PTTL": (acl("-pttl"), None, (1, 0)),
    "PING": (acl("-ping"), None, (1, 0)),
    "dangerous ones": (acl("-@dangerous -@admin"), None, (1, 0)),
}


class Refusing(Program):
    def started(self):
        self.client().set("started", 1)

    def answers(self):
        return self.direct().echo("up")


@pytest.fixture(params=REFUSALS)
def refusing(request, tmp_path):
    server, line, lanes = REFUSALS[request.param]
    started = Refusing(tmp_path, server=server)
    yield started, line, lanes
    started.stop()


@pytest.mark.parametrize("sharing", ["lane", "dedicated"])
def test_what_is_refused_is_done_without(refusing, sharing):
    program, line, lanes = refusing
    if sharing == "dedicated":
        program.process.kill()
        program.process.wait()
        program.settings["SHARING"] = sharing
        program.start(program.log.parent)
    client, other = program.client(), program.client()
    for n in range(20):
        assert client.set("k", n)
        for reader in (client, other) * 3:
            assert reader.get("k") == b"%d" % n
            assert reader.mget("k", "none") == [b"%d" % n, None]
    pipeline = client.pipeline()
    assert pipeline.incr("n").get("n").delete("n").execute() == [1, b"1", 1]
    assert client.eval("return redis.call('GET', 'k')", 0) == b"19"
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NONE", "k")
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    assert pubsub.get_message(timeout=PATIENCE)["data"] == 1
    assert client.execute_command("SELECT", 0) in (True, b"OK")
    with client.pipeline() as watching:
        watching.watch("k")
        assert watching.get("k") == b"19"
        watching.multi()
        assert watching.set("k", "w").execute() == [True]
    assert other.get("k") == b"w"
    seen = metrics(program)
    assert (seen['nearside_lanes{tracked="true"}'], seen['nearside_lanes{tracked="false"}']) == lanes
    assert seen["nearside_lane_up"] == sum(lanes)
    if line is not None:
        assert seen["nearside_l1_hits_total"] == seen["nearside_l1_entries"] == 0
    logged = [text for text in program.log.read_text().splitlines() if "L1 is off" in text]
    assert len(logged) == (line is not None), logged
    assert line is None or line in logged[0]
    assert "panicked" not in program.log.read_text()


def test_a_refusal_is_over_when_the_upstream_says_so(tmp_path):
    program = Program(tmp_path, server=acl("-client|caching"))
    try:
        client = program.client()
        for _ in range(3):
            client.get("k")
        assert metrics(program)['nearside_lanes{tracked="false"}'] == 1
        program.direct().acl_setuser("default", enabled=True, nopass=True, keys=["*"], categories=["+@all"])
        with program.direct() as direct:
            lane = next(entry for entry in direct.client_list() if entry["name"] == "nearside-lane")
            direct.client_kill_filter(_id=lane["id"])

        def is_hit():
            client.get("k")
            return metrics(program)["nearside_l1_hits_total"] > 0

        eventually(is_hit, "a hit")
    finally:
        program.stop()
