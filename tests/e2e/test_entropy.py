"""The reconciliation channel with the real binary, openssl and redis-server."""

import pathlib
import random
import re
import signal
import socket
import struct
import subprocess

import pytest

from nodes import QUORATE, Node, Redis, encode, free_port, wait_until

KEY = b"01234567890123456"
IV = b"abcdefghijklmnop"
SECONDS = 60


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "iv").write_bytes(IV)
    return ["--key-file", tmp_path / "key", "--iv-file", tmp_path / "iv"]


class Receiver:
    """A running `quorate entropy receive`."""

    def __init__(self, directory, secret, *arguments, stdout=subprocess.DEVNULL):
        self.port = free_port()
        self.log = directory / f"receiver-{self.port}.log"
        command = [QUORATE, "entropy", "receive", "--listen", f"127.0.0.1:{self.port}"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*command, *secret, *arguments], stdout=stdout, stderr=log)
        wait_until(lambda: "listening" in self.text() or self.process.poll() is not None, 20,
                   "the receiver listens")

    def text(self):
        return self.log.read_text(errors="replace")

    def wait(self):
        return self.process.wait(SECONDS)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def memory_kib(self):
        """The most that was ever resident."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


@pytest.fixture
def receive(tmp_path, secret):
    receivers = []

    def start(*arguments, **options):
        receivers.append(Receiver(tmp_path, secret, *arguments, **options))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.stop()


@pytest.fixture
def send(secret):
    def run(receiver, *arguments, **options):
        port = receiver if isinstance(receiver, int) else receiver.port
        command = [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{port}", *secret, *arguments]
        return subprocess.run(command, capture_output=True, timeout=SECONDS * 2, **options)

    return run


def fine(outcome):
    assert outcome.returncode == 0, outcome.stderr.decode()
    return outcome.stderr.decode()


def sample(path, length, seed=1):
    path.write_bytes(random.Random(seed).randbytes(length))
    return path


@pytest.mark.parametrize("protocol", ["v2", "classic"])
@pytest.mark.parametrize("length", [0, 1, 16_384, 5_000_000])
def test_file_to_file(tmp_path, receive, send, protocol, length):
    source, target = sample(tmp_path / "source", length), tmp_path / "target"
    receiver = receive("--file", target, "--once", "--protocol", protocol)
    said = fine(send(receiver, "--file", source, "--protocol", protocol))
    assert f"sent {length} bytes" in said
    assert ("has applied them" in said) == (protocol == "v2")
    assert receiver.wait() == 0
    assert f"received {length} bytes" in receiver.text()
    assert target.read_bytes() == source.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_pipes_and_redirections(tmp_path, receive, send):
    source = sample(tmp_path / "source", 3_000_000)
    for protocol in ["v2", "classic"]:
        receiver = receive("-", "--once", "--protocol", protocol, stdout=open(tmp_path / "out", "wb"))
        fine(send(receiver, "-", "--protocol", protocol, input=source.read_bytes()))
        assert receiver.wait() == 0
        assert (tmp_path / "out").read_bytes() == source.read_bytes()
        receiver = receive("-", "--once", "--protocol", protocol, stdout=open(tmp_path / "out", "wb"))
        with open(source, "rb") as stdin:
            fine(send(receiver, "-", "--protocol", protocol, stdin=stdin))
        assert receiver.wait() == 0
        assert (tmp_path / "out").read_bytes() == source.read_bytes()


def openssl(data, *arguments):
    command = ["openssl", "enc", "-aes-128-cbc", "-K", KEY[:16].hex(), "-iv", IV.hex(), *arguments]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def test_openssl_reads_what_is_sent(tmp_path, send):
    source = sample(tmp_path / "source", 100_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sender = subprocess.Popen(
            [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{port}", "--protocol", "classic",
             "--key-file", tmp_path / "key", "--iv-file", tmp_path / "iv", "--header-size", "64",
             "--buffer-size", "4096", "--file", source], stderr=subprocess.PIPE)
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as stream:
            assert struct.unpack(">5I", stream.read(20)) == (0x64640001, 1, 64, 4096, 5120)
            total, encrypted = struct.unpack(">2I", stream.read(8))
            assert (total, encrypted, stream.read(56)) == (100_000, 1, bytes(56))
            plain = b""
            while head := stream.read(4):
                chunk = stream.read(struct.unpack(">I", head)[0])
                plain += openssl(chunk, "-d")
        assert sender.wait(SECONDS) == 0
    assert plain == source.read_bytes()


def test_what_openssl_encrypts_is_received(tmp_path, receive):
    plain = sample(tmp_path / "source", 50_000).read_bytes()
    receiver = receive("--file", tmp_path / "target", "--once", "--protocol", "classic")
    with socket.create_connection(("127.0.0.1", receiver.port)) as connection:
        stream = struct.pack(">7I", 0x64640001, 1, 8, 16384, 17408, len(plain), 1)
        for start in range(0, len(plain), 16384):
            chunk = openssl(plain[start:start + 16384])
            stream += struct.pack(">I", len(chunk)) + chunk
        connection.sendall(stream)
        connection.shutdown(socket.SHUT_WR)
        assert receiver.wait() == 0
    assert (tmp_path / "target").read_bytes() == plain


def test_what_does_not_fit_is_refused_and_said(tmp_path, receive, send):
    source = sample(tmp_path / "source", 100_000)
    # Nobody listens.
    outcome = send(free_port(), "--file", source)
    assert outcome.returncode == 1 and b"cannot connect" in outcome.stderr
    # Another protocol, another secret, no plaintext unless both say so.
    (tmp_path / "other").write_bytes(b"another secret, 16 and more")
    other = ["--key-file", tmp_path / "other", "--iv-file", tmp_path / "iv"]
    receiver = receive("--file", tmp_path / "target", "--protocol", "any")
    command = [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{receiver.port}", *other]
    outcome = subprocess.run([*command, "--file", source], capture_output=True)
    assert outcome.returncode == 1 and b"another secret" in outcome.stderr, outcome.stderr
    outcome = send(receiver, "--file", source, "--protocol", "classic", "--plain")
    assert outcome.returncode == 1, outcome.stderr
    assert "encrypt_flag 0; allowed: 1" in receiver.text()
    assert b"only with the classic protocol" in send(receiver, "--file", source, "--plain").stderr
    outcome = send(receiver, "--file", source, "--buffer-size", str(5 << 20))
    assert b"buffer_size 5242880" in outcome.stderr and outcome.returncode == 1
    strict = receive("--file", tmp_path / "target", "--once")
    assert send(strict, "--file", source, "--protocol", "classic").returncode == 1
    assert strict.wait() == 1 and "allowed here: version 2" in strict.text()
    assert not (tmp_path / "target").exists()
    # And the next good one is served.
    fine(send(receiver, "--file", source))
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    # Wrong usage.
    assert send(receiver).returncode == 2
    assert send(receiver, "--file", source, "-").returncode == 2
    secrets = (tmp_path / "other").read_text(), KEY.decode(), IV.decode()
    assert not any(each in receiver.text() for each in secrets)


def test_plaintext_where_both_sides_ask_for_it(tmp_path, receive, send):
    source, target = sample(tmp_path / "source", 100_000), tmp_path / "target"
    receiver = receive("--file", target, "--once", "--protocol", "classic", "--plain")
    fine(send(receiver, "--file", source, "--protocol", "classic", "--plain"))
    assert receiver.wait() == 0 and target.read_bytes() == source.read_bytes()


def test_memory_stays_flat(tmp_path, receive, send):
    """Announced gigabytes, silent peers and a snapshot of 256 MiB: a few MiB on either side."""
    receiver = receive("-", "--protocol", "any")
    peers = []
    for number in range(25):
        peer = socket.create_connection(("127.0.0.1", receiver.port))
        if number % 2:
            peer.sendall(struct.pack(">8I", 0x64640001, 1, 8, 5 << 20, 5 << 20, 0xfffffffe, 1, 5 << 20))
        peers.append(peer)
    big = tmp_path / "big"
    with open(big, "wb") as file:
        for seed in range(16):
            file.write(random.Random(seed).randbytes(16 << 20))
    for arguments in [["--file", big], ["--file", big, "--protocol", "classic"]]:
        fine(send(receiver, *arguments))
    # Twelve of them have been promised a chunk of 5 MiB.
    assert receiver.memory_kib() < (32 << 10) + 13 * 6 * 1024
    for peer in peers:
        peer.close()


def test_more_than_one_connection(tmp_path, receive, send):
    source, target = sample(tmp_path / "source", 1_000_000), tmp_path / "target"
    receiver = receive("--file", target, "--append", "--protocol", "classic")
    said = fine(send(receiver, "--file", source, "--protocol", "classic", "--part-size", "300000"))
    assert "in 4 connections" in said
    wait_until(lambda: target.exists() and target.stat().st_size == 1_000_000, 20, "all is there")
    assert target.read_bytes() == source.read_bytes()


LONG = 200_000


def fill(connection, seed=1, count=400, corners=True):
    generator = random.Random(seed)
    for number in range(count):
        key = f"key-{number}"
        kind = number % 6
        if kind == 0:
            connection("SET", key, generator.randbytes(generator.randrange(2000)))
        elif kind == 1:
            connection("HSET", key, "a", generator.randbytes(20), "b", "", "c\r\n", "3")
        elif kind == 2:
            connection("SADD", key, *range(generator.randrange(1, 30)))
        elif kind == 3:
            connection("INCRBY", key, number)
            connection("INCRBYFLOAT", key, "0.5")
        elif kind == 4:
            connection("SET", key, "v", "PX", 10_000_000 + number)
        else:
            connection("SET", key, "gone")
            connection("DEL", key)
    connection("SET", "long", b"x" * LONG)
    for number in range(3000):
        connection("HSET", "large", f"field-{number}", number)
    if corners:
        fill_corners(connection)


def fill_corners(connection):
    """One key of every kind that could be got wrong on the way."""
    every = bytes(range(256))
    connection("SET", "empty", "")
    connection("SET", every, every)
    connection("SET", b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$7\r\nFLUSHDB\r\n")
    connection("SET", "huge", b"\r\n" * 4_000_000)
    connection("SET", "-inf", "-9223372036854775808")
    connection("INCRBY", "count", "41")
    connection("DECRBY", "count", "-1")
    connection("INCRBYFLOAT", "float", "-3.25")
    connection("HSET", "binary-hash", every, every, "", "empty name", "empty value", "")
    connection("HINCRBY", "binary-hash", "count", "-7")
    connection("SADD", "binary-set", every, "", "\r\n")
    for start in range(0, 5000, 500):
        connection("SADD", "large-set", *range(start, start + 500))
    for kind, words in [("hash", ["HSET", "hash-expiring", "f", "v"]), ("set", ["SADD", "set-expiring", "m"])]:
        connection(*words)
        connection("PEXPIRE", f"{kind}-expiring", "50000000")
    connection("SET", "past", "soon gone", "PX", "1")
    connection("HSET", "emptied", "f", "v")
    connection("HDEL", "emptied", "f")
    connection("SADD", "retyped", "m")
    connection("DEL", "retyped")
    connection("HSET", "retyped", "now", "a hash")
    wait_until(lambda: connection("EXISTS", "past") == (b":", b"0"), 10, "it has expired")


# What `fill` leaves: four in six of 400, two large ones, and the corners.
KEYS = 336 + 13


def contents(connection):
    """Every key with its value and its expiry."""
    found = {}
    keys, cursor = [], b"0"
    while True:
        _, (cursor, page) = connection("SCAN", cursor, "COUNT", 1000)
        keys += [key for _, key in page[1]]
        cursor = cursor[1]
        if cursor == b"0":
            break
    for key in keys:
        kind = connection("TYPE", key)[1]
        read = {b"string": "GET", b"hash": "HGETALL", b"set": "SMEMBERS"}[kind]
        value = connection(read, key)[1]
        if kind == b"hash":
            value = sorted(zip([v for _, v in value[::2]], [v for _, v in value[1::2]]))
        elif kind == b"set":
            value = sorted(v for _, v in value)
        found[key] = (kind, value, connection("PEXPIRETIME", key)[1])
    return found


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path / "redis", free_port()).start()
    yield server
    server.kill()


@pytest.mark.parametrize("protocol", ["v2", "classic"])
def test_store_to_file_to_redis(tmp_path, node, redis, receive, send, protocol):
    fill(node.raw())
    stream = tmp_path / "stream"
    receiver = receive("--file", stream, "--once", "--protocol", protocol)
    fine(send(receiver, "--from-store", "--node", f"127.0.0.1:{node.port}", "--protocol", protocol))
    assert receiver.wait() == 0
    expected = contents(node.raw())
    assert len(expected) == KEYS, sorted(expected)
    # The stream as it is, replayed by somebody who knows nothing of states.
    connection = redis.raw()
    connection.send(stream.read_bytes())
    connection.send(encode("ECHO", "done"))
    while (reply := connection.read()) != (b"$", b"done"):
        assert reply[0] != b"-", reply
    assert contents(connection) == expected
    # The types are those that were written, not only whatever both sides say.
    assert connection("GET", "count") == (b"$", b"42") and connection("STRLEN", "huge") == (b":", b"8000000")
    assert connection("SCARD", "large-set") == (b":", b"5000") and connection("EXISTS", "past") == (b":", b"0")
    assert connection("HGET", "binary-hash", bytes(range(256))) == (b"$", bytes(range(256)))
    # Through our own sink, over whatever is there, twice.
    connection("SADD", "key-0", "another kind")
    connection("SET", "key-1", "another kind")
    receiver = receive("--redis", f"127.0.0.1:{redis.port}")
    for _ in range(2):
        fine(send(receiver, "--file", stream))
    assert contents(connection) == expected


@pytest.mark.parametrize("protocol", ["v2", "classic"])
def test_an_empty_store_is_an_empty_stream(tmp_path, node, redis, receive, send, protocol):
    connection = redis.raw()
    connection("SET", "kept", "1")
    receiver = receive("--redis", f"127.0.0.1:{redis.port}", "--once", "--protocol", protocol)
    said = fine(send(receiver, "--from-store", "--node", f"127.0.0.1:{node.port}", "--protocol", protocol))
    assert "sent 0 bytes" in said and receiver.wait() == 0
    assert contents(connection).keys() == {b"kept"}


@pytest.mark.parametrize("protocol", ["v2", "classic"])
def test_a_redis_without_memory_is_heard_of(tmp_path, node, redis, receive, send, protocol):
    connection = node.raw()
    for number in range(64):
        connection("SET", f"key-{number}", b"x" * 100_000)
    redis.raw()("CONFIG", "SET", "maxmemory", "3mb")
    receiver = receive("--redis", f"127.0.0.1:{redis.port}", "--once", "--protocol", protocol)
    outcome = send(receiver, "--from-store", "--node", f"127.0.0.1:{node.port}", "--protocol", protocol)
    assert outcome.returncode == 1 and b"sent" not in outcome.stderr.split(b"delivered")[0], outcome.stderr
    assert receiver.wait() == 1
    assert re.search(r"command \d+ \(SET\): OOM command not allowed", receiver.text()), receiver.text()
    assert "no snapshot was applied" in receiver.text() and "a snapshot was applied" not in receiver.text()
    if protocol == "v2":
        assert b"the receiver refused: sink: command" in outcome.stderr
    assert len(contents(redis.raw())) < 64


@pytest.mark.parametrize("protocol", ["v2", "classic"])
@pytest.mark.parametrize("how", ["absent", "killed", "read-only"])
def test_a_redis_that_fails_is_heard_of(tmp_path, node, redis, receive, send, protocol, how):
    connection = node.raw()
    for number in range(64):
        connection("SET", f"key-{number}", b"x" * 100_000)
    receiver = receive("--redis", f"127.0.0.1:{redis.port}", "--once", "--protocol", protocol)
    stream = ["--from-store", "--node", f"127.0.0.1:{node.port}", "--protocol", protocol]
    if how == "absent":
        redis.kill()
        outcome = send(receiver, *stream)
        text = "Connection refused"
    elif how == "read-only":
        redis.raw()("REPLICAOF", "127.0.0.1", free_port())
        outcome = send(receiver, *stream)
        text = "READONLY You can't write against a read only replica"
    else:
        # It stops answering in the middle, then it dies.
        redis.process.send_signal(signal.SIGSTOP)
        command = [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{receiver.port}",
                   "--key-file", tmp_path / "key", "--iv-file", tmp_path / "iv", *stream]
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            sender.wait(1)
        redis.kill()
        _, said = sender.communicate(timeout=SECONDS)
        outcome = subprocess.CompletedProcess(command, sender.returncode, b"", said)
        text = "sink: "
    assert outcome.returncode == 1, outcome.stderr
    assert receiver.wait() == 1
    assert text in receiver.text() and "a snapshot was applied" not in receiver.text(), receiver.text()


def test_parts_of_a_store_can_be_replayed_each(tmp_path, node, redis, receive, send):
    fill(node.raw(), corners=False)
    receiver = receive("--redis", f"127.0.0.1:{redis.port}", "--protocol", "classic")
    said = fine(send(receiver, "--from-store", "--node", f"127.0.0.1:{node.port}",
                     "--protocol", "classic", "--part-size", "450000"))
    assert int(re.search(r"in (\d+) connections", said)[1]) > 2
    wait_until(lambda: contents(redis.raw()) == contents(node.raw()), 20, "all parts are applied")


def test_store_to_store_is_a_merge(tmp_path, receive, send):
    servers = [Node(tmp_path / name, name=name).start() for name in ["a", "b"]]
    try:
        one, two = [server.raw() for server in servers]
        fill(one)
        two("SET", "key-0", "newer")
        two("SET", "only-there", "1")
        two("INCRBY", "shared", 30)
        one("INCRBY", "shared", 5)
        two("SADD", "members", "there")
        one("SADD", "members", "here")
        for _ in range(2):
            for source, target in [servers, servers[::-1]]:
                receiver = receive("--into-store", "--node", f"127.0.0.1:{target.port}", "--once")
                fine(send(receiver, "--from-store", "--node", f"127.0.0.1:{source.port}"))
                assert receiver.wait() == 0, receiver.text()
        for connection in [one, two]:
            assert connection("GET", "key-0") == (b"$", b"newer")
            assert connection("GET", "only-there") == (b"$", b"1")
            assert connection("GET", "shared") == (b"$", b"35")
            assert connection("SCARD", "members") == (b":", b"2")
        assert contents(one) == contents(two)
        # An echo takes nothing back.
        one("INCRBY", "shared", 2)
        one("DEL", "only-there")
        receiver = receive("--into-store", "--node", f"127.0.0.1:{servers[0].port}", "--once")
        fine(send(receiver, "--from-store", "--node", f"127.0.0.1:{servers[1].port}"))
        assert receiver.wait() == 0
        assert one("GET", "shared") == (b"$", b"37")
        # What was merged is in the log.
        before = contents(two)
        servers[1].kill()
        servers[1].start()
        assert contents(servers[1].raw()) == before
    finally:
        for server in servers:
            server.kill()


def test_parts_of_a_store_are_merges_each(tmp_path, receive, send):
    """Wherever the stream is cut into connections: what is newer at the receiver stays."""
    servers = [Node(tmp_path / name, name=name).start() for name in ["a", "b"]]
    try:
        one, two = [server.raw() for server in servers]
        for number in range(300):
            one("SET", f"key-{number}", b"older" * 20)
            one("HSET", f"hash-{number}", "field", "older")
        for number in range(300):
            two("SET", f"key-{number}", "newer")
            two("HSET", f"hash-{number}", "field", "newer", "more", "1")
        before = contents(two)
        for part_size in ["700", "5000", "33333"]:
            receiver = receive("--into-store", "--node", f"127.0.0.1:{servers[1].port}", "--protocol", "classic")
            said = fine(send(receiver, "--from-store", "--node", f"127.0.0.1:{servers[0].port}",
                             "--protocol", "classic", "--part-size", part_size))
            parts = int(re.search(r"in (\d+) connections", said)[1])
            wait_until(lambda: receiver.text().count("a snapshot was applied") == parts, 20, "all parts are applied")
            assert contents(two) == before
            receiver.stop()
    finally:
        for server in servers:
            server.kill()


def test_a_cluster_is_refilled_through_any_node(cluster, tmp_path, receive, send):
    fill(cluster[0].raw())
    cluster.settle()
    stream = tmp_path / "stream"
    receiver = receive("--file", stream, "--once")
    fine(send(receiver, "--from-store", "--node", f"127.0.0.1:{cluster[2].port}"))
    assert receiver.wait() == 0
    digest, before = cluster[0].digest(), contents(cluster[0].raw())
    receiver = receive("--into-store", "--node", f"127.0.0.1:{cluster[1].port}")
    fine(send(receiver, "--file", stream))
    cluster.settle()
    assert {node.digest() for node in cluster.nodes} == {digest}, "merging the same changes nothing"
    assert contents(cluster[1].raw()) == before


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_redis_to_store(tmp_path, node, receive, send, preamble):
    directory = tmp_path / "source"
    source = Redis(directory, free_port()).start()
    try:
        connection = source.raw()
        assert connection("CONFIG", "SET", "aof-use-rdb-preamble", preamble)[0] == b"+"
        fill(connection)
        receiver = receive("--into-store", "--node", f"127.0.0.1:{node.port}", "--once")
        fine(send(receiver, "--redis", f"127.0.0.1:{source.port}"))
        assert receiver.wait() == 0, receiver.text()
        assert contents(node.raw()) == contents(connection)
        setting = connection("CONFIG", "GET", "aof-use-rdb-preamble")[1][1][1]
        assert setting == preamble.encode(), "the setting is as it was"
    finally:
        source.kill()


def test_a_command_that_fails_is_heard_of(tmp_path, redis, receive, send):
    stream = tmp_path / "stream"
    stream.write_bytes(encode("SET", "k", "v") + encode("INCR", "k") + encode("SET", "k", "w"))
    receiver = receive("--redis", f"127.0.0.1:{redis.port}")
    outcome = send(receiver, "--file", stream)
    assert outcome.returncode == 1
    assert b"the receiver refused: sink: command 2 (INCR): ERR value is not an integer" in outcome.stderr
    for junk in [b"hello", b"REDIS0011", encode("SET", "k", "v")[:-3]]:
        stream.write_bytes(junk)
        outcome = send(receiver, "--file", stream)
        assert outcome.returncode == 1 and b"the receiver refused" in outcome.stderr, outcome.stderr


def test_a_killed_sender_leaves_the_file_as_it_was(tmp_path, receive):
    target = tmp_path / "target"
    target.write_bytes(b"before")
    receiver = receive("--file", target)
    sender = subprocess.Popen(
        [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{receiver.port}", "--key-file",
         tmp_path / "key", "--iv-file", tmp_path / "iv", "-"],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    sender.stdin.write(b"x" * 1_000_000)
    sender.stdin.flush()
    wait_until(lambda: list(tmp_path.glob("target.*.partial")), 20, "the transfer has begun")
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    wait_until(lambda: not list(tmp_path.glob("target.*.partial")), 20, "the rest is removed")
    assert target.read_bytes() == b"before"
    wait_until(lambda: "refused" in receiver.text(), 20, "it is logged")


def test_only_what_has_changed_is_shipped_again(tmp_path, secret, receive):
    servers = [Node(tmp_path / name, name=name).start() for name in ["a", "b"]]
    one, two = [server.raw() for server in servers]
    receiver = receive("--into-store", "--node", f"127.0.0.1:{servers[1].port}")
    log = tmp_path / "driver.log"
    with open(log, "wb") as file:
        driver = subprocess.Popen(
            [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{receiver.port}", *secret, "--from-store",
             "--node", f"127.0.0.1:{servers[0].port}", "--every", "1"], stderr=file)
    shipped = lambda: [tuple(map(int, found)) for found in
                       re.findall(r"(\d+) slots equal, (\d+) shipped", log.read_text())]
    try:
        fill(one)
        wait_until(lambda: contents(one) == contents(two), 20, "the first cycles have shipped all")
        wait_until(lambda: shipped()[-1] == (16384, 0), 20, "nothing is left to ship")
        two("SET", "key-0", "newer there")
        one("SET", "key-1", "changed here")
        wait_until(lambda: (16383, 1) in shipped(), 20, "one slot is shipped")
        wait_until(lambda: two("GET", "key-1") == (b"$", b"changed here"), 20, "the change is there")
        assert two("GET", "key-0") == (b"$", b"newer there")
        # A receiver that is away: what it missed is shipped when it is back.
        receiver.stop()
        one("SET", "key-1", "changed again")
        wait_until(lambda: "nothing shipped" in log.read_text(), 20, "it is noticed")
        receiver.process = subprocess.Popen(
            [QUORATE, "entropy", "receive", "--listen", f"127.0.0.1:{receiver.port}", *secret, "--into-store",
             "--node", f"127.0.0.1:{servers[1].port}"], stderr=subprocess.DEVNULL)
        wait_until(lambda: two("GET", "key-1") == (b"$", b"changed again"), 20, "the rest is shipped")
    finally:
        driver.kill()
        driver.wait()
        for server in servers:
            server.kill()


def test_replicas_of_one_cluster_are_compared_by_digest(cluster, tmp_path, secret, receive):
    fill(cluster[0].raw())
    cluster.settle()
    receiver = receive("--into-store", "--node", f"127.0.0.1:{cluster[1].port}")
    log = tmp_path / "driver.log"
    with open(log, "wb") as file:
        driver = subprocess.Popen(
            [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{receiver.port}", *secret, "--from-store",
             "--node", f"127.0.0.1:{cluster[0].port}", "--peer-node", f"127.0.0.1:{cluster[1].port}",
             "--every", "60"], stderr=file)
    try:
        wait_until(lambda: "slots equal" in log.read_text(), 20, "the first cycle has ended")
        assert "16384 slots equal, 0 shipped" in log.read_text()
    finally:
        driver.kill()
        driver.wait()
