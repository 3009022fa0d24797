"""nearside's own password from a file, which is renewed while it runs."""

import re
import socket
import subprocess

import pytest
import redis
from conftest import BINARY, PATIENCE, Program, environment, eventually, raw


class Guarded(Program):
    """nearside and a redis-server that lets in nobody without a password; `admin` is the test's own user."""

    def __init__(self, directory, username=None):
        self.file = directory / "password"
        self.username = username or "default"
        self.password = "one"
        settings = {"PASSWORD_FILE": str(self.file), **({"USERNAME": username} if username else {})}
        users = ["admin on >admin ~* &* +@all", f"{self.username} on >one ~* &* +@all"]
        users += [] if username is None else ["default off"]
        server = [word for user in users for word in ("--user", *user.split())]
        self.file.write_text("one\n")
        super().__init__(directory, server=server, settings=settings)

    def direct(self, **options):
        return super().direct(username="admin", password="admin", **options)

    def change_password(self, password):
        self.direct().acl_setuser(self.username, enabled=True, reset_passwords=True, passwords=[f"+{password}"])

    def lanes(self):
        return [client for client in self.direct().client_list() if client["name"] == "nearside-lane"]

    def cut_lanes(self):
        for lane in self.lanes():
            self.direct().client_kill_filter(_id=lane["id"])


@pytest.fixture(params=[None, "near"])
def guarded(request, tmp_path):
    started = Guarded(tmp_path, request.param)
    yield started
    started.stop()


def test_clients_need_no_password(guarded):
    client = guarded.client()
    assert client.set("k", "v") and client.get("k") == b"v"
    assert client.acl_whoami() == guarded.username
    assert client.eval("return redis.call('GET', 'k')", 0) == b"v", "over a connection of its own"
    assert [lane["user"] for lane in guarded.lanes()] == [guarded.username]


@pytest.mark.parametrize("protocol", [2, 3])
def test_clients_may_give_the_same_password(guarded, protocol):
    before = {lane["id"] for lane in guarded.lanes()}
    client = guarded.client(protocol=protocol, username=guarded.username, password="one")
    assert client.set("k", "v") and guarded.username in str(client.acl_whoami())
    assert {lane["id"] for lane in guarded.lanes()} == before
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        guarded.client(protocol=protocol, username=guarded.username, password="two").ping()


def test_a_renewed_password_is_used_at_the_next_connect(guarded):
    client = guarded.client()
    assert client.set("k", "v")
    guarded.change_password("two")
    assert client.get("k") == b"v", "who is in stays in"
    guarded.file.write_text("two")
    before = {lane["id"] for lane in guarded.lanes()}
    guarded.cut_lanes()
    eventually(lambda: {lane["id"] for lane in guarded.lanes()} - before, "a lane with the new password")
    eventually(lambda: guarded.client().get("k") == b"v", "service")
    assert guarded.client().eval("return redis.call('GET', 'k')", 0) == b"v"


def test_a_password_that_is_not_renewed_yet_is_said_to_be_wrong(guarded):
    assert guarded.client().set("k", "v")
    guarded.change_password("two")
    guarded.cut_lanes()
    told = eventually(
        lambda: re.match(b"-UNAVAILABLE .*WRONGPASS", raw(guarded.port, b"GET k\r\n")), "the upstream's refusal"
    )
    assert f"upstream 127.0.0.1:{guarded.upstream_port}: ".encode() in told.string
    assert "WRONGPASS" in guarded.log.read_text()
    # Clients with a password of their own are none the worse.
    for protocol in (2, 3):
        for db in (0, 3):
            admin = guarded.client(username="admin", password="admin", protocol=protocol, db=db)
            assert admin.set("mine", db) and admin.get("mine") == b"%d" % db
            assert "admin" in str(admin.acl_whoami())
            with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
                guarded.client(username="admin", password="wrong", protocol=protocol, db=db).ping()
    guarded.file.write_text("two\n")
    eventually(lambda: guarded.client().get("k") == b"v", "service with the new password")


@pytest.mark.parametrize("sharing", ["lane", "dedicated"])
@pytest.mark.parametrize("db", [0, 2])
def test_clients_with_passwords_of_their_own_need_none_of_nearside_s(tmp_path, sharing, db):
    class Unknown(Program):
        def direct(self, **options):
            return super().direct(password="secret", **options)

        def start_upstream(self):
            self.settings["UPSTREAM"] += f"/{db}"
            super().start_upstream()

        def started(self):
            eventually(lambda: b"NOAUTH" in raw(self.port, b"GET k\r\n"), "the upstream's refusal")

    program = Unknown(tmp_path, server=["--requirepass", "secret"], settings={"SHARING": sharing})
    try:
        for protocol in (2, 3):
            for _ in range(2):
                client = program.client(password="secret", protocol=protocol)
                assert client.set("k", protocol) and client.get("k") == b"%d" % protocol
                assert client.eval("return redis.call('GET', 'k')", 0) == b"%d" % protocol
                assert program.direct(db=db).get("k") == b"%d" % protocol
            with pytest.raises(redis.AuthenticationError):
                program.client(password="wrong", protocol=protocol).ping()
            with pytest.raises(redis.AuthenticationError):
                program.client(protocol=protocol, socket_connect_timeout=PATIENCE).ping()
        # The refused session goes on as who it was, in the order of what it sends.
        with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as connection:
            connection.sendall(b"AUTH wrong\r\nAUTH secret\r\nINCR n\r\nGET n\r\n")
            received = b""
            while not received.endswith(b"$1\r\n1\r\n"):
                chunk = connection.recv(1 << 16)
                assert chunk, received
                received += chunk
        assert received.startswith(b"-WRONGPASS ") and received.endswith(b"+OK\r\n:1\r\n$1\r\n1\r\n")
    finally:
        program.stop()


def test_a_file_that_is_gone_leaves_the_password_that_was_there(guarded):
    assert guarded.client().set("k", "v")
    guarded.file.unlink()
    guarded.cut_lanes()
    eventually(lambda: guarded.client().get("k") == b"v", "service")
    assert str(guarded.file) in guarded.log.read_text()


def test_the_password_is_shown_nowhere(guarded):
    guarded.client().ping()
    guarded.change_password("a-secret")
    guarded.file.write_text("a-secret")
    guarded.cut_lanes()
    eventually(lambda: guarded.client().ping(), "service")
    config = raw(guarded.http, b"GET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"a-secret" not in config and "a-secret" not in guarded.log.read_text()


def test_a_missing_file_ends_the_start(tmp_path):
    path = tmp_path / "none"
    settings = environment({"UPSTREAM": "redis://127.0.0.1:1", "PASSWORD_FILE": str(path)})
    command = [BINARY, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    ended = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode > 0 and ended.stderr.count("\n") == 1 and str(path) in ended.stderr, ended.stderr
