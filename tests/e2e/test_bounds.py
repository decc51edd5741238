"""One greedy or slow client beside a probing one: memory stays bounded, and others are served."""

import pathlib
import socket
import threading
import time

import pytest
from nodes import encode

MEGABYTE = 1 << 20
# Bounds are ten times what a quiet machine shows: this finds a client that stalls all others.
P99_MAX = 0.5
GREEDY_BYTES_MAX = 600 * MEGABYTE


class Probe(threading.Thread):
    """Writes small keys one at a time and times each."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.connection = node.raw()
        self.seconds, self.errors, self.ended = [], [], threading.Event()

    def run(self):
        number = 0
        while not self.ended.wait(0.002):
            began = time.monotonic()
            reply = self.connection("SET", f"probe-{number % 100}", "value")
            self.seconds.append(time.monotonic() - began)
            if reply != (b"+", b"OK"):
                self.errors.append(reply)
            number += 1

    def finish(self):
        self.ended.set()
        self.join(60)
        assert not self.is_alive(), "a small write got no answer"
        assert not self.errors, self.errors[:3]
        assert len(self.seconds) > 20
        assert sorted(self.seconds)[int(len(self.seconds) * 0.99)] < P99_MAX


def resident(node):
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.fixture(params=["node", "cluster"])
def serving(request):
    """The node to ask, and all nodes."""
    found = request.getfixturevalue(request.param)
    return (found, [found]) if request.param == "node" else (found[0], found.nodes)


def greedy(node, data):
    connection = socket.create_connection(("127.0.0.1", node.port), timeout=60)
    threading.Thread(target=send_quietly, args=(connection, data), daemon=True).start()
    return connection


def send_quietly(connection, data):
    try:
        connection.sendall(data)
    except OSError:
        pass


def with_a_large_value(node):
    """Sets it, and starts a probe. Returns the memory of the node before the attack, and the probe."""
    assert node.raw()("SET", "big", b"x" * MEGABYTE) == (b"+", b"OK")
    before = resident(node)
    probe = Probe(node)
    probe.start()
    return before, probe


def no_peer_was_suspected(nodes):
    for node in nodes:
        assert "peer is down" not in node.log(), node.log()


def test_clients_that_do_not_read_cost_little_memory_and_nobody_else(serving):
    node, nodes = serving
    before, probe = with_a_large_value(node)
    clients = [greedy(node, encode("GET", "big") * 1_000) for _ in range(24)]
    peak = 0
    for _ in range(40):
        peak = max(peak, resident(node))
        time.sleep(0.05)
    for client in clients:
        client.close()
    probe.finish()
    assert peak - before < GREEDY_BYTES_MAX
    no_peer_was_suspected(nodes)


def test_a_client_that_reads_much_gets_all_of_it_and_stalls_nobody(serving):
    node, nodes = serving
    before, probe = with_a_large_value(node)
    time.sleep(0.2)
    count, reply = 500, b"$%d\r\n" % MEGABYTE + b"x" * MEGABYTE + b"\r\n"
    client = greedy(node, encode("GET", "big") * count)
    received = 0
    while received < count * len(reply):
        chunk = client.recv(MEGABYTE)
        assert chunk, f"closed after {received} bytes"
        received += len(chunk)
    probe.finish()
    assert received == count * len(reply)
    assert resident(node) - before < GREEDY_BYTES_MAX
    no_peer_was_suspected(nodes)


def test_a_million_pipelined_commands_are_answered_in_turns(serving):
    node, nodes = serving
    probe = Probe(node)
    probe.start()
    count = 300_000
    client = greedy(node, b"".join(encode("ECHO", f"{n:07}") for n in range(count)))
    received = bytearray()
    while len(received) < count * 13:
        received += client.recv(MEGABYTE)
    probe.finish()
    assert received == b"".join(b"$7\r\n%07d\r\n" % n for n in range(count))
    no_peer_was_suspected(nodes)
