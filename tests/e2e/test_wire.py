"""What arrives over a wire: in pieces, in masses, malformed, or from clients that misbehave."""

import os
import socket
import time

import pytest
from nodes import Node, Raw, encode, wait_until

MEGABYTE = 1 << 20


def test_a_command_split_at_every_byte(node):
    data = encode("SET", "key", "x" * 20) + encode("GET", "key") + b"PING\r\n"
    expected = b"+OK\r\n$20\r\n" + b"x" * 20 + b"\r\n+PONG\r\n"
    for cut in range(1, len(data)):
        connection = socket.create_connection(("127.0.0.1", node.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(data[:cut])
        time.sleep(0.002)
        connection.sendall(data[cut:])
        received = b""
        while len(received) < len(expected):
            received += connection.recv(4096)
        assert received == expected, f"cut at {cut}"
        connection.close()


@pytest.mark.parametrize("size", [1, 16_367, 16_368, 16_369, 65_536, MEGABYTE, 64 * MEGABYTE])
def test_values_and_replies_of_any_size(node, size):
    connection = node.raw()
    value = os.urandom(min(size, MEGABYTE)) * max(1, size // MEGABYTE)
    assert connection("SET", "big", value) == (b"+", b"OK")
    assert connection("GET", "big") == (b"$", value)
    assert connection("STRLEN", "big") == (b":", str(len(value)).encode())


def test_several_big_values_at_once(node):
    connection = node.raw()
    values = {f"big{n}": os.urandom(17_000) for n in range(50)}
    for key, value in values.items():
        connection("SET", key, value)
    kind, replies = connection("MGET", *values)
    assert [reply[1] for reply in replies] == list(values.values())


def test_a_hundred_thousand_pipelined(node):
    connection = node.raw()
    count = 100_000
    connection.send(b"".join(encode("SET", f"k{n}", n) for n in range(count)))
    assert all(connection.read() == (b"+", b"OK") for _ in range(count))
    connection.send(b"".join(encode("GET", f"k{n}") for n in range(count)))
    assert all(connection.read() == (b"$", str(n).encode()) for n in range(count))


def test_pipelines_over_a_cluster_keep_their_order(shared_cluster):
    connections = [node.raw() for node in shared_cluster.nodes]
    count = 3_000
    connections[0].send(b"".join(encode("SET", f"p{n}", f"v{n}") for n in range(count)))
    assert all(connections[0].read() == (b"+", b"OK") for _ in range(count))
    for connection in connections:
        connection.send(b"".join(encode("GET", f"p{n}") for n in range(count)))
        for n in range(count):
            assert connection.read() == (b"$", f"v{n}".encode())


def test_pipelined_commands_on_one_key_keep_their_order(shared_cluster):
    for node in shared_cluster.nodes:
        connection = node.raw()
        connection("DEL", "counter")
        commands, expected = [], []
        for n in range(1, 200):
            commands += [encode("INCR", "counter"), encode("GET", "counter")]
            expected += [(b":", str(n).encode()), (b"$", str(n).encode())]
        connection.send(b"".join(commands))
        assert [connection.read() for _ in expected] == expected


@pytest.mark.parametrize("data, text", [
    (b"*1\r\n:1\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
    (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*\rq", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*99999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b'SET k "v\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
    (b"*1\r\n$9999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
])
def test_protocol_errors_close_that_connection_alone(node, redis_server, data, text):
    other = node.raw()
    for server, expected in ((redis_server, text), (node, text)):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        connection.sendall(data)
        received = b""
        try:
            while chunk := connection.recv(4096):
                received += chunk
        except ConnectionResetError:
            pass
        assert received == expected
    assert other("PING") == (b"+", b"PONG")


def test_a_value_over_the_limit_is_refused_before_it_is_sent(tmp_path):
    node = Node(tmp_path, arguments=["--max-value-size", 100_000]).start()
    try:
        connection = node.raw()
        connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100001\r\n")
        assert connection.read() == (b"-", b"ERR Protocol error: invalid bulk length")
        assert node.raw()("SET", "k", "x" * 100_000) == (b"+", b"OK")
    finally:
        node.kill()


def test_slow_silent_and_vanished_clients_harm_nobody(node):
    writer = node.raw()
    writer("SET", "big", b"x" * MEGABYTE)
    slow = socket.create_connection(("127.0.0.1", node.port))
    slow.sendall(encode("GET", "big") * 200)  # and never reads
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(50)]
    half = socket.create_connection(("127.0.0.1", node.port))
    half.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc")
    for _ in range(20):
        vanished = socket.create_connection(("127.0.0.1", node.port))
        vanished.sendall(encode("GET", "big") * 20)
        vanished.close()
    for n in range(1_000):
        assert writer("SET", "k", n) == (b"+", b"OK")
    for connection in [slow, half, *silent]:
        connection.close()
    wait_until(lambda: writer("CLIENT", "LIST")[1].count(b"\n") == 1, 10, "they are gone")


def test_inline_commands(node):
    connection = node.raw()
    connection.send(b'SET k "hello \\x41"\r\nGET k\r\n')
    assert connection.read() == (b"+", b"OK")
    assert connection.read() == (b"$", b"hello A")


def test_unknown_commands_do_not_close_the_connection(node):
    connection = node.raw()
    assert connection("NOSUCH", "a")[0] == b"-"
    assert connection("quorate.flush", "0")[0] == b"-"
    assert connection("PING") == (b"+", b"PONG")


def test_hostile_peers_harm_nobody(node):
    for data in [b"GET / HTTP/1.0\r\n\r\n" * 10, b"QRT1" + b"\xff" * 100, os.urandom(4096), b"QRT1\x01\x12" + b"\0" * 26]:
        stranger = socket.create_connection(("127.0.0.1", node.peer_port), timeout=10)
        stranger.sendall(data)
        stranger.settimeout(5)
        try:
            assert stranger.recv(1) == b""
        except (ConnectionResetError, socket.timeout):
            pass
        stranger.close()
    assert Raw(node.port)("PING") == (b"+", b"PONG")


HTTP = [
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET smuggled 1\r\n",
    b"post / HTTP/1.1\r\n\r\nSET smuggled 1\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET smuggled 1\r\n",
    b"PUT / HTTP/1.1\r\nhOST: 127.0.0.1\r\nContent-Length: 16\r\n\r\nSET smuggled 1\r\n",
    encode("POST", "x") + encode("SET", "smuggled", "1"),
]


@pytest.mark.parametrize("request_bytes", HTTP)
@pytest.mark.parametrize("whole", [True, False])
def test_http_is_not_executed(node, redis_server, request_bytes, whole):
    for server in (redis_server, node):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        try:
            if whole:
                connection.sendall(request_bytes)
            else:
                for line in request_bytes.splitlines(keepends=True):
                    connection.sendall(line)
                    time.sleep(0.02)
            while connection.recv(4096):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        connection.close()
        assert server.raw()("EXISTS", "smuggled") == (b":", b"0"), server
    wait_until(lambda: "possible attack" in node.log(), 10, "the log tells of it")
