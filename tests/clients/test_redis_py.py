"""redis-py over TCP and a Unix socket, in RESP2 and RESP3."""

import threading

import pytest
import redis
from conftest import PATIENCE, eventually

MANY = 10_000
LARGE = bytes(range(256)) * (8 << 12)  # 8 MiB of every byte there is


def soon(program, call):
    """Calls from another thread, once somebody waits in the upstream."""

    def wait_and_call():
        eventually(lambda: program.direct().info("clients")["blocked_clients"], "somebody to wait")
        call()

    thread = threading.Thread(target=wait_and_call)
    thread.start()
    return thread


def test_data_types(client):
    assert client.set("s", "v") and client.get("s") == b"v"
    assert client.incrby("n", 5) == 5 and client.incrbyfloat("x", 0.5) == 0.5
    client.mset({"a": 1, "b": 2})
    assert client.mget("a", "b", "none") == [b"1", b"2", None]
    client.hset("h", mapping={"f": 1, "g": 2})
    assert client.hgetall("h") == {b"f": b"1", b"g": b"2"}
    client.rpush("l", 1, 2, 3)
    assert client.lrange("l", 0, -1) == [b"1", b"2", b"3"]
    assert client.lpop("l", 2) == [b"1", b"2"] and client.lpop("none", 2) is None
    client.sadd("t", "x")
    assert client.smembers("t") == {b"x"} and client.smismember("t", ["x", "y"]) == [1, 0]
    client.zadd("z", {"m": 1.5, "inf": float("inf")})
    assert client.zscore("z", "m") == 1.5
    assert [list(pair) for pair in client.zrange("z", 0, -1, withscores=True)] == [[b"m", 1.5], [b"inf", float("inf")]]
    client.geoadd("g", (13.361389, 38.115556, "palermo"))
    assert client.geopos("g", "palermo", "none")[1] is None
    assert client.bitfield("bits").set("u8", 0, 255).get("u4", 0).execute() == [0, 15]
    assert client.pfadd("hll", "a", "b") == 1 and client.pfcount("hll") == 2
    client.set("gone", "x", px=1)
    eventually(lambda: client.get("gone") is None, "the key's end")
    for n in range(100):
        client.set(f"scan:{n}", n)
    assert len(set(client.scan_iter("scan:*"))) == 100
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.lpush("s", 1)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NOSUCH", "x")


def test_streams(program, client):
    first = client.xadd("s", {"f": "1"}, id="1-1")
    second = client.xadd("s", {"f": "2"}, id="2-1")
    assert client.xrange("s") == [(first, {b"f": b"1"}), (second, {b"f": b"2"})]
    assert client.xrevrange("s", count=1) == [(second, {b"f": b"2"})]
    assert dict(client.xread({"s": first}))  # a list of pairs or, in RESP3, a map
    assert not client.xread({"s": second})
    assert client.xgroup_create("s", "g", "0")
    assert len(entries_of(client.xreadgroup("g", "one", {"s": ">"}), b"s")) == 2
    assert client.xpending("s", "g")["pending"] == 2
    assert client.xack("s", "g", first) == 1
    assert client.xclaim("s", "g", "two", 0, [second]) == [(second, {b"f": b"2"})]
    assert client.xautoclaim("s", "g", "one", 0)[1] == [(second, {b"f": b"2"})]
    assert client.xinfo_stream("s")["length"] == 2 and client.xinfo_groups("s")[0]["pending"] == 1
    later = soon(program, lambda: client.xadd("s", {"f": "3"}, id="3-1"))
    assert entries_of(client.xread({"s": "$"}, block=PATIENCE * 1000), b"s") == [(b"3-1", {b"f": b"3"})]
    later.join()
    assert client.xtrim("s", maxlen=1, approximate=False) == 2 and client.xlen("s") == 1


def entries_of(reply, key):
    entries = dict(reply)[key]
    # redis-py's RESP3 form has one more list around the entries.
    return entries[0] if isinstance(entries[0], list) else entries


def test_scripts_and_functions(client):
    append = client.register_script("return redis.call('append', KEYS[1], ARGV[1])")
    client.set("k", "a")
    assert client.get("k") == b"a"
    # EVALSHA, NOSCRIPT, SCRIPT LOAD, EVALSHA; the cache must see each write.
    for n in range(2, 5):
        assert append(keys=["k"], args=["a"]) == n and client.get("k") == b"a" * n
    assert client.script_exists(append.sha, "0" * 40) == [True, False]
    assert client.eval("return {1, 'two', false, {4}}", 0) == [1, b"two", None, [4]]
    with pytest.raises(redis.ResponseError, match="mine"):
        client.eval("return redis.error_reply('ERR mine')", 0)
    library = "#!lua name=lib\nredis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1]) end)"
    assert client.function_load(library) == b"lib"
    assert client.fcall("put", 1, "k", "by function") == b"OK"
    assert client.get("k") == b"by function"
    assert client.function_delete("lib")
    with pytest.raises(redis.ResponseError, match="Function not found"):
        client.fcall("put", 1, "k", "v")


def test_pipelines_and_transactions(client):
    for transaction in (True, False):
        pipeline = client.pipeline(transaction=transaction)
        for n in range(500):
            pipeline.set(f"k{n}", n).get(f"k{n}")
        assert pipeline.execute()[1::2] == [str(n).encode() for n in range(500)]
    with client.pipeline() as pipeline:
        pipeline.watch("w")
        client.set("w", "elsewhere")
        pipeline.multi()
        pipeline.set("w", "here")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("w") == b"elsewhere"
    with client.pipeline() as pipeline:
        pipeline.set("s", "v").lpush("s", 1).zadd("z", {"m": 1}).zrange("z", 0, -1, withscores=True)
        done, wrong, added, pairs = pipeline.execute(raise_on_error=False)
    assert (done, added) == (True, 1) and isinstance(wrong, redis.ResponseError)
    assert [list(pair) for pair in pairs] == [[b"m", 1.0]]
    assert client.transaction(lambda p: (p.multi(), p.incr("n")), "n") == [1]


@pytest.mark.parametrize("transaction", [False, True])
def test_pipelines_of_many(client, transaction):
    pipeline = client.pipeline(transaction=transaction)
    for n in range(MANY // 4):
        pipeline.set(f"k{n % 100}", n).get(f"k{n % 100}").incr("n").get("n")
    replies = pipeline.execute()
    assert len(replies) == MANY
    assert replies[1::4] == [str(n).encode() for n in range(MANY // 4)]
    assert replies[2::4] == list(range(1, MANY // 4 + 1))
    assert replies[3::4] == [str(n).encode() for n in range(1, MANY // 4 + 1)]


def test_large_values(client):
    client.set(LARGE[:300], LARGE)
    for _ in range(3):
        assert client.get(LARGE[:300]) == LARGE
    client.rpush("l", LARGE, "small", LARGE)
    assert client.lrange("l", 0, -1) == [LARGE, b"small", LARGE]
    replies = client.pipeline(transaction=False).set("a", LARGE).get("a").strlen("a").get("a").execute()
    assert replies == [True, LARGE, len(LARGE), LARGE]
    assert client.eval("return ARGV[1]", 0, LARGE) == LARGE


def test_pubsub(client):
    with client.pubsub() as pubsub:

        def message():
            got = pubsub.get_message(timeout=PATIENCE)
            return got["type"], got["channel"], got["data"]

        pubsub.subscribe("c")
        pubsub.psubscribe("c*")
        pubsub.ssubscribe("shard")
        assert [message()[2] for _ in range(3)] == [1, 2, 1]
        assert client.publish("c", "hello") == 2
        assert [message(), message()] == [("message", b"c", b"hello"), ("pmessage", b"c", b"hello")]
        assert client.spublish("shard", "near") == 1
        assert message() == ("smessage", b"shard", b"near")
        client.publish("c", LARGE)
        assert [message()[2], message()[2]] == [LARGE, LARGE]
        assert client.pubsub_channels() == [b"c"] and client.pubsub_numsub("c") == [(b"c", 1)]
        pubsub.unsubscribe("c")
        assert message() == ("unsubscribe", b"c", 1)
        pubsub.ping("still here")
        assert message()[2] in (b"still here", "still here")
    eventually(lambda: client.publish("c", "x") == 0, "the subscriber to be gone")
    assert client.get("none") is None


def test_blocking(program, client):
    other = program.direct()
    later = soon(program, lambda: other.lpush("q", "late"))
    assert list(client.blpop("q", timeout=PATIENCE)) == [b"q", b"late"]
    later.join()
    later = soon(program, lambda: other.lpush("q", "moved"))
    assert client.blmove("q", "r", PATIENCE) == b"moved"
    later.join()
    later = soon(program, lambda: other.zadd("z", {"m": 1}))
    assert list(client.bzpopmin("z", timeout=PATIENCE)) == [b"z", b"m", 1.0]
    later.join()
    assert client.blpop("q", timeout=0.1) is None
    assert client.wait(0, 0) == 0
    assert client.get("q") is None and client.lrange("r", 0, -1) == [b"moved"]


def test_cache_follows_writes(program, client):
    client.set("k", 1)
    assert [client.get("k") for _ in range(5)] == [b"1"] * 5
    client.set("k", 2)
    assert client.get("k") == b"2"
    for _ in range(5):
        client.get("k")
    program.direct().set("k", 3)
    eventually(lambda: client.get("k") == b"3", "a write made elsewhere")


def test_databases_are_apart(client, connect):
    client.set("k", "zero")
    one = connect(db=1)
    assert one.get("k") is None
    one.set("k", "one")
    for _ in range(3):
        assert client.get("k") == b"zero" and one.get("k") == b"one"
    one.execute_command("SELECT", 0)
    assert one.execute_command("GET", "k") == b"zero"


def test_users(program, client, connect):
    program.direct().execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~open:*", "+@all", "-@write")
    program.direct().mset({"open:k": "seen", "shut:k": "unseen"})
    user = {"username": "reader", "password": "secret"}
    reader = connect(**user)
    assert "reader" in str(reader.acl_whoami())
    for _ in range(3):
        assert client.get("shut:k") == b"unseen" and reader.get("open:k") == b"seen"
        with pytest.raises(redis.exceptions.NoPermissionError):
            reader.get("shut:k")
    with pytest.raises(redis.exceptions.NoPermissionError):
        reader.set("open:k", "new")
    assert connect(**user, db=1).get("open:k") is None
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        connect(username="reader", password="wrong").ping()
    assert reader.get("open:k") == b"seen" and "default" in str(client.acl_whoami())


def test_upstream_restarts(program, client):
    script = client.register_script("return redis.call('incr', KEYS[1])")
    pubsub = client.pubsub()
    pubsub.subscribe("c")
    assert pubsub.get_message(timeout=PATIENCE)["data"] == 1
    assert client.set("k", 1) and client.get("k") == b"1" and script(keys=["n"]) == 1
    program.stop_upstream()
    program.start_upstream()
    eventually(lambda: client.set("k", 2), "service again")
    assert client.get("k") == b"2"
    assert script(keys=["n"]) == 1
    pipeline = client.pipeline()
    pipeline.incr("n").get("n")
    assert pipeline.execute() == [2, b"2"]

    def heard():
        client.publish("c", "back")
        message = pubsub.get_message(timeout=0.1)
        return message and message["data"] == b"back"

    eventually(heard, "the subscription again")
