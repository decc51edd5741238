"""Anti-entropy by clocks: what an executor that dies has left at one replica only reaches the other."""

import select
import socket
import struct
import threading

import pytest
import redis

from nodes import Cluster, wait_until

HEADER_LENGTH = 32


class Proxy:
    """Stands before the peer port of a node. What `held` names send waits, and is never delivered."""

    def __init__(self, address, target):
        self.target = target
        self.held = None
        self.stopped = threading.Event()
        self.listener = socket.create_server(address)
        self.listener.settimeout(0.1)
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while not self.stopped.is_set():
            try:
                caller, _ = self.listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self.carry, args=[caller], daemon=True)
            thread.start()
            self.threads.append(thread)
        self.listener.close()

    def carry(self, caller):
        try:
            called = socket.create_connection(self.target)
        except OSError:
            return caller.close()
        with caller, called:
            caller.settimeout(30)
            introduction = b""
            while (name := name_in(introduction)) is None:
                received = caller.recv(65536)
                if not received:
                    return
                introduction += received
            called.sendall(introduction)
            other = {caller: called, called: caller}
            while not self.stopped.is_set():
                ready, _, _ = select.select([caller, called], [], [], 0.05)
                for source in ready:
                    try:
                        received = source.recv(65536)
                        if not received:
                            return
                        # Looked at after it was received: nothing slips through.
                        if source is caller and name == self.held:
                            continue
                        other[source].sendall(received)
                    except OSError:
                        return

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(10)


def name_in(introduction):
    """The name of the node that introduces itself: behind the cluster's name and 16 bytes of id."""
    at = HEADER_LENGTH
    try:
        at += 2 + struct.unpack_from("<H", introduction, at)[0] + 16
        length, = struct.unpack_from("<H", introduction, at)
    except struct.error:
        return None
    name = introduction[at + 2:at + 2 + length]
    return name.decode() if len(name) == length else None


@pytest.fixture
def held_cluster(tmp_path):
    """Three nodes; what the others send to the third goes through a proxy."""
    cluster = Cluster(tmp_path)
    third = cluster[2]
    third.arguments += ["--advertise", "127.0.1.3"]
    proxy = Proxy(("127.0.1.3", third.peer_port), ("127.0.0.1", third.peer_port))
    try:
        cluster.start()
        yield cluster, proxy
    finally:
        proxy.stop()
        cluster.stop()


def connect(node):
    """A client that reads and writes at ONE."""
    client = redis.Redis(port=node.port, single_connection_client=True)
    client.execute_command("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE")
    return client


def clock_metrics(client):
    found = client.info("quorate")
    return {name: int(value) for name, value in found.items() if name.startswith("clock_")}


def keys_of(name, client):
    """Keys whose writes the node of this name executes, as long as it is up."""
    for number in range(10_000):
        found = client.execute_command("QUORATE", "LOCATE", f"key{number}")
        if found[found.index(b"replicas") + 1][0] == name:
            yield f"key{number}"


def test_what_a_dead_executor_left_at_one_replica_reaches_the_other(held_cluster):
    cluster, proxy = held_cluster
    executor, second, third = (connect(node) for node in cluster.nodes)
    executor.set("first", "write")
    cluster.settle()
    keys = keys_of(b"n1", executor)
    written = []

    def pulls():
        # An anti-entropy round may come first by chance, but not again and again.
        written.append(next(keys))
        executor.set(written[-1], "only at two")
        wait_until(lambda: third.get(written[-1]) is not None, 90, "the third node has it")
        return clock_metrics(third)["clock_dots_pulled"] > 0

    proxy.held = "n1"
    wait_until(pulls, 90, "the third node has pulled something")

    last = [next(keys) for _ in range(50)]
    for key in last:
        assert executor.set(key, "only at two")
    wait_until(lambda: all(second.get(key) for key in last), 30, "the second node has the last ones")
    cluster[0].kill()
    wait_until(lambda: cluster[1].digest() == cluster[2].digest(), 90, "the survivors are equal")
    assert all(third.get(key) == b"only at two" for key in written + last)
    assert clock_metrics(second)["clock_bytes"] > 0

    # The executor comes back: everybody becomes equal, and nothing waits for a round for ever.
    proxy.held = None
    cluster[0].start()
    cluster.settle()
    clients = [connect(node) for node in cluster.nodes]
    wait_until(lambda: not any(clock_metrics(client)["clock_dots_pended"] for client in clients),
               90, "all that was pended is known")
