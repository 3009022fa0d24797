"""TLS to the upstream, with certificates made here by openssl."""

import re
import socket
import subprocess

import pytest
import redis
from conftest import BINARY, PATIENCE, Program, environment, eventually, metrics, raw


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=PATIENCE)


class Authority:
    """A certificate authority in a directory of its own, a server's certificate for `names`, and a client's."""

    def __init__(self, directory, names="IP:127.0.0.1"):
        directory.mkdir()
        self.directory = directory
        self.ca = directory / "ca.pem"
        self.key("ca")
        openssl("req", "-x509", "-key", directory / "ca.key", "-out", self.ca, "-subj", "/CN=authority", "-days", 30)
        self.server, self.server_key = self.certificate("server", names)
        self.client, self.client_key = self.certificate("client", "DNS:client")

    def key(self, name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.directory / f"{name}.key")

    def certificate(self, name, names):
        self.key(name)
        path = self.directory / name
        key, request, signed = (path.with_suffix(suffix) for suffix in (".key", ".csr", ".crt"))
        path.with_suffix(".ext").write_text(f"subjectAltName={names}\n")
        openssl("req", "-new", "-key", key, "-out", request, "-subj", f"/CN={name}")
        sign = ["x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.directory / "ca.key", "-CAcreateserial"]
        openssl(*sign, "-out", signed, "-days", 30, "-extfile", path.with_suffix(".ext"))
        return signed, key


class TlsProgram(Program):
    """nearside and a redis-server that speaks TLS alone; nothing is waited for but that nearside listens."""

    def __init__(self, directory, authority, **settings):
        self.use(authority)
        super().__init__(directory, settings={name: str(value) for name, value in settings.items()})

    def use(self, authority):
        self.authority = authority

    def start_upstream(self):
        files = self.authority
        tls = ["--port", "0", "--tls-port", str(self.upstream_port), "--tls-ca-cert-file", str(files.ca)]
        self.server = [*tls, "--tls-cert-file", str(files.server), "--tls-key-file", str(files.server_key)]
        self.settings["UPSTREAM"] = f"rediss://127.0.0.1:{self.upstream_port}"
        # An open circuit would answer in place of what opened it.
        self.settings.setdefault("BREAKER_FAILURE_THRESHOLD", "100000")
        super().start_upstream()

    def direct(self, **options):
        files = self.authority
        proof = {"ssl_certfile": str(files.client), "ssl_keyfile": str(files.client_key), "ssl_ca_certs": str(files.ca)}
        options = {"ssl": True, "ssl_check_hostname": False, **proof, **options}
        return redis.Redis(host="127.0.0.1", port=self.upstream_port, **options)

    def started(self):
        pass

    def is_served(self):
        return eventually(lambda: self.client().ping(), "service")

    def complains(self, cause):
        """What a client is told and what the log says name the cause, and the program goes on."""
        told = eventually(lambda: re.search(cause, raw(self.port, b"GET k\r\n").decode()), f"{cause!r} for a client")
        assert told.string.startswith(f"-UNAVAILABLE upstream 127.0.0.1:{self.upstream_port}: "), told.string
        logged = [line for line in self.log.read_text().splitlines() if "not reachable" in line]
        assert any(re.search(cause, line) for line in logged), self.log.read_text()
        assert "panicked" not in self.log.read_text()
        assert self.process.poll() is None


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "other", names="DNS:redis.example")


@pytest.fixture
def start(tmp_path):
    started = []

    def start(authority, **settings):
        started.append(TlsProgram(tmp_path, authority, **settings))
        return started[-1]

    yield start
    for program in started:
        program.stop()


def proof(authority):
    return {"TLS_CA_FILE": authority.ca, "TLS_CERT_FILE": authority.client, "TLS_KEY_FILE": authority.client_key}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("sharing", ["lane", "dedicated"])
def test_everything_works_over_tls(start, authority, sharing, protocol):
    program = start(authority, SHARING=sharing, **proof(authority))
    program.is_served()
    client = program.client(protocol=protocol)
    assert client.set("k", "v")

    def is_hit():
        before = metrics(program)["nearside_l1_hits_total"]
        assert client.get("k") == b"v"
        return metrics(program)["nearside_l1_hits_total"] > before

    eventually(is_hit, "a hit")
    program.direct().set("k", "w")
    eventually(lambda: client.get("k") == b"w", "the push")
    large = bytes(range(256)) * (20 << 12)
    assert client.set("large", large)
    # By the lane, where it is seen to be large, and over a connection of its own.
    for _ in range(3):
        assert client.get("large") == large
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    assert pubsub.get_message(timeout=PATIENCE)["data"] == 1
    for n in range(3):
        eventually(lambda: program.client().publish("news", n), "the subscriber")
        assert pubsub.get_message(timeout=PATIENCE)["data"] == b"%d" % n
    pubsub.close()
    pipeline = client.pipeline(transaction=True)
    for n in range(1000):
        pipeline.incr("n")
    assert pipeline.execute() == list(range(1, 1001))


def test_nothing_is_held_back_on_the_way(start, authority):
    """A request whose last bytes stayed in a TLS buffer would never be answered."""
    program = start(authority, **proof(authority))
    program.is_served()
    client = program.client()
    for size in [*range(16_300, 16_460, 16), 65_535, 65_536, 262_144, 1 << 20, (1 << 20) + 1]:
        value = b"x" * size
        assert client.set("k", value) and client.getrange("k", 0, -1) == value
        assert client.execute_command("EVAL", "return redis.call('GET', KEYS[1])", 1, "k") == value


def test_an_authority_that_is_not_trusted(start, authority, other):
    program = start(authority, **{**proof(authority), "TLS_CA_FILE": other.ca})
    program.complains("TLS: .*(UnknownIssuer|BadSignature)")
    blocking = raw(program.port, b"BLPOP k 0\r\n").decode()
    assert re.match("-UNAVAILABLE upstream .*TLS: ", blocking), "over a connection of its own"


def test_the_system_s_authorities(start, authority, monkeypatch):
    """Where no file is named; this variable stands for the system's store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    program = start(authority, TLS_CERT_FILE=authority.client, TLS_KEY_FILE=authority.client_key)
    program.is_served()


def test_a_name_that_the_certificate_does_not_have(start, other):
    program = start(other, **proof(other))
    program.complains("TLS: .*(NotValidForName|not valid for name)")


def test_the_name_to_be_proved_can_be_given(start, other):
    program = start(other, TLS_SERVER_NAME="redis.example", **proof(other))
    program.is_served()
    assert program.client().set("k", "v") and program.client().get("k") == b"v"


def test_a_certificate_that_is_asked_for_and_not_given(start, authority):
    program = start(authority, TLS_CA_FILE=authority.ca)
    program.complains("CertificateRequired")


def test_a_client_s_certificate_of_another_authority(start, authority, other):
    program = start(authority, **{**proof(other), "TLS_CA_FILE": authority.ca})
    program.complains("alert: ")


def test_an_upstream_that_speaks_no_tls(start, program, authority):
    settings = {"UPSTREAM": f"rediss://127.0.0.1:{program.upstream_port}", "TLS_CA_FILE": str(authority.ca)}
    program.process.kill()
    program.process.wait()
    program.settings = settings
    program.started = lambda: None
    program.start(program.log.parent)
    told = eventually(lambda: re.search(b"TLS: .*", raw(program.port, b"GET k\r\n")), "the cause")
    assert told.string.startswith(b"-UNAVAILABLE upstream ")


def test_renewed_files_are_used_at_the_next_connect(start, authority, tmp_path):
    files = {name: tmp_path / name for name in ("ca.pem", "client.crt", "client.key")}
    renewed = Authority(tmp_path / "renewed")

    def install(source):
        for path in files.values():
            path.write_bytes((source.directory / path.name).read_bytes())

    install(authority)
    settings = dict(zip(("TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"), files.values(), strict=True))
    program = start(authority, **settings)
    program.is_served()
    client = program.client()
    assert client.set("k", "before")
    # First the server changes everything, then the files follow.
    program.stop_upstream()
    program.use(renewed)
    program.start_upstream()
    program.complains("TLS: |connection lost")
    # Half a file, as it may be met while it is being written: what was there before stays in use.
    files["client.crt"].write_bytes(renewed.client.read_bytes()[:100])
    eventually(lambda: "not read again" in program.log.read_text(), "the half file to be met")
    install(renewed)
    program.is_served()
    assert program.client().set("k", "after") and program.direct().get("k") == b"after"
    # Own connections too.
    assert program.client().eval("return 1", 0) == 1


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("TLS_CA_FILE", None, "No such file"),
        ("TLS_CA_FILE", "", "no certificate in PEM form"),
        ("TLS_CA_FILE", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot use"),
        ("TLS_CA_FILE", "-----BEGIN CERTIFICATE-----\n", "cannot use"),
        ("TLS_CERT_FILE", None, "No such file"),
        ("TLS_CERT_FILE", "nonsense", "no certificate in PEM form"),
        ("TLS_KEY_FILE", None, "No such file"),
        ("TLS_KEY_FILE", "nonsense", "no private key in PEM form"),
        ("TLS_SERVER_NAME", "not a name", "not a name that a certificate can have"),
    ],
)
def test_files_that_cannot_be_used_end_the_start(authority, tmp_path, name, content, complaint):
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    settings = {"UPSTREAM": "rediss://127.0.0.1:1", **{key: str(value) for key, value in proof(authority).items()}}
    settings[name] = content if name == "TLS_SERVER_NAME" else str(path)
    command = [BINARY, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    ended = subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode not in (0, 101) and ended.returncode > 0
    assert ended.stderr.count("\n") == 1 and complaint in ended.stderr, ended.stderr
    assert name == "TLS_SERVER_NAME" or str(path) in ended.stderr


def test_a_key_of_another_certificate_ends_the_start(authority, other):
    settings = {key: str(value) for key, value in {**proof(authority), "TLS_KEY_FILE": other.client_key}.items()}
    environ = environment({"UPSTREAM": "rediss://127.0.0.1:1", **settings})
    command = [BINARY, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode > 0 and ended.stderr.count("\n") == 1
    assert "panicked" not in ended.stderr and "key" in ended.stderr.lower(), ended.stderr


def test_a_lost_tls_connection_is_made_again(start, authority):
    program = start(authority, **proof(authority))
    program.is_served()
    client = program.client()
    client.set("k", "v")
    with program.direct() as direct:
        lanes = [entry["id"] for entry in direct.client_list() if entry["name"] == "nearside-lane"]
        assert len(lanes) == 1
        direct.client_kill_filter(_id=lanes[0])
    eventually(lambda: program.client().get("k") == b"v", "service again")
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as connection:
        connection.sendall(b"MULTI\r\nWATCH k\r\nSET k w\r\nEXEC\r\nGET k\r\n")
        received = b""
        while not received.endswith(b"$1\r\nw\r\n") and (chunk := connection.recv(1 << 16)):
            received += chunk
    assert received.startswith(b"+OK\r\n-ERR WATCH inside MULTI")


def test_the_fleet_meets_over_tls(start, authority):
    program = start(authority, FLEET_NAME="shop", **proof(authority))
    program.is_served()

    def told():
        try:
            return program.client().execute_command("NEARSIDE", "INVALIDATE", "ALL", "FLEET") == 1
        except redis.ResponseError as error:
            assert "no connection" in str(error)

    eventually(told, "the fleet")
