"""What a client costs the upstream: nothing, for a library's defaults and simple commands go by the shared lane."""

import socket

import pytest
import redis
from conftest import PATIENCE, eventually

# What go-redis 9.23 sends at connect, one write a line.
GO_REDIS = [
    b"*2\r\n$5\r\nhello\r\n$1\r\n3\r\n",
    b"*5\r\n$6\r\nclient\r\n$19\r\nmaint_notifications\r\n$2\r\non\r\n$20\r\nmoving-endpoint-type\r\n$11\r\ninternal-ip\r\n",
    b"*4\r\n$6\r\nclient\r\n$7\r\nsetinfo\r\n$8\r\nLIB-NAME\r\n$19\r\ngo-redis(,go1.26.8)\r\n"
    b"*4\r\n$6\r\nclient\r\n$7\r\nsetinfo\r\n$7\r\nLIB-VER\r\n$6\r\n9.23.0\r\n",
    b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n",
]

# What Jedis 8.0.2 sends at connect, by how it is set up: each write, and how many replies it reads then.
JEDIS_INFO = (
    b"*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n$5\r\njedis\r\n"
    b"*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$7\r\nLIB-VER\r\n$5\r\n8.0.2\r\n"
)
JEDIS_NAME = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n"
JEDIS = {
    "plain": [JEDIS_INFO],
    "RESP2": [b"*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n", JEDIS_INFO],
    "RESP3": [b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", JEDIS_INFO],
    "named": [JEDIS_NAME + JEDIS_INFO],
}


def upstream_connections(program):
    """The connections to the upstream other than the one that asks, by id."""
    with program.direct() as asking:
        own = asking.client_id()
        return {int(client["id"]) for client in asking.client_list()} - {own}


def use(client):
    client.set("k", "v")
    assert client.get("k") == b"v" and client.get("k") == b"v"


def test_fresh_clients_cost_nothing(program, connect):
    before = upstream_connections(program)
    assert len(before) == 1
    for client in [connect() for _ in range(5)]:
        use(client)
    assert upstream_connections(program) == before


def test_named_clients_cost_nothing(program, connect):
    before = upstream_connections(program)
    for client in [connect(client_name=f"client-{n}") for n in range(5)]:
        use(client)
        assert "client-" in str(client.client_getname())
    assert upstream_connections(program) == before


def test_a_database_costs_one_lane(program, connect):
    before = upstream_connections(program)
    for client in [connect(db=3) for _ in range(5)]:
        use(client)
    eventually(lambda: len(upstream_connections(program) - before) == 1, "a lane, and nothing else")


def test_a_user_costs_one_lane(program, connect):
    program.direct().execute_command("ACL", "SETUSER", "someone", "on", ">secret", "~*", "&*", "+@all")
    before = upstream_connections(program)
    for client in [connect(username="someone", password="secret") for _ in range(5)]:
        use(client)
    eventually(lambda: len(upstream_connections(program) - before) == 1, "a lane, and nothing else")
    # A wrong password is the upstream's to judge, with the user's lane up; its connection goes again.
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        connect(username="someone", password="wrong").ping()
    use(connect(username="someone", password="secret"))


def test_pipelines_cost_nothing(program, connect):
    before = upstream_connections(program)
    for transaction in (False, True):
        pipeline = connect().pipeline(transaction=transaction)
        assert pipeline.set("k", 1).get("k").incr("n").execute()[:2] == [True, b"1"]
    assert upstream_connections(program) == before


def test_go_redis_costs_nothing(program):
    before = upstream_connections(program)
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as connection:
        for request in GO_REDIS:
            connection.sendall(request)
            assert connection.recv(1 << 16)
        connection.sendall(b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n")
        received = b""
        while not received.endswith(b"$1\r\nv\r\n"):
            chunk = connection.recv(1 << 16)
            assert chunk, "cut off"
            received += chunk
        assert upstream_connections(program) == before


def exchange(connection, request):
    """The replies to a write of Jedis's; HELLO's as far as servers agree on it."""
    connection.sendall(request)
    lines, received = request.count(b"CLIENT"), b""
    while received.count(b"\r\n") < lines or lines == 0 and not received.endswith(b"modules\r\n*0\r\n"):
        chunk = connection.recv(1 << 16)
        assert chunk, "cut off"
        received += chunk
    return received if lines else received[:20]


@pytest.mark.parametrize("setup", JEDIS)
def test_jedis_costs_nothing(program, setup):
    before = upstream_connections(program)
    with (
        socket.create_connection(("127.0.0.1", program.upstream_port), timeout=PATIENCE) as direct,
        socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as connection,
    ):
        for request in JEDIS[setup]:
            assert exchange(connection, request) == exchange(direct, request)
        direct.close()
        for request, reply in [
            (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", b"+OK\r\n"),
            (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$1\r\nv\r\n"),
        ]:
            connection.sendall(request)
            assert connection.recv(1 << 16) == reply
        eventually(lambda: upstream_connections(program) == before, "no connection but those before")
