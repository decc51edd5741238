"""A node of three that stands still, or is killed, or all that stop at once, while clients read and write at a
quorum: who is told what. What takes how long is measured by `just attack stuck`."""

import threading
import time

import pytest
from nodes import Cluster, Raw, wait_until

START_SECONDS = 20

# Longer than it takes the others to notice.
STOPPED_SECONDS = 2.5


class Client(threading.Thread):
    """Sends one kind of command to a node again and again, with keys and values that no other client has."""

    def __init__(self, node, name, kind):
        super().__init__(daemon=True)
        self.connection = Raw(node.port)
        self.name = name
        self.kind = kind
        self.errors = []
        self.closed = False
        self.acknowledged = {}
        self.answered = 0
        self.stopped = threading.Event()

    def run(self):
        number = 0
        while not self.stopped.wait(0.003):
            number += 1
            key = f"{self.name}:{number % 100}"
            words = {"SET": ("SET", key, number), "GET": ("GET", key), "INCR": ("INCR", key)}[self.kind]
            try:
                kind, text = self.connection(*words)
            except (OSError, EOFError):
                self.closed = True
                return
            if kind == b"-":
                self.errors.append(text.decode())
            else:
                self.answered += 1
                self.acknowledged[key] = number


def begin(nodes):
    clients = [Client(node, f"{node.name}:{kind}:{turn}", kind)
               for node in nodes for kind in ("SET", "GET", "INCR") for turn in range(2)]
    for client in clients:
        client.start()
    wait_until(lambda: all(client.answered > 50 for client in clients), START_SECONDS, "they work")
    return clients


def end(clients):
    for client in clients:
        client.stopped.set()
    for client in clients:
        client.join()


def check(clients, nodes):
    """What overwrites or reads has seen no error; what depends on what it finds may be unknown. What was
    acknowledged is what all show, also later."""
    for client in clients:
        expected = [text for text in client.errors if client.kind == "INCR" and text.startswith("UNKNOWN")]
        assert client.errors == expected, (client.name, client.errors)
        assert not client.closed
    for node in nodes:
        asked = Raw(node.port)
        for client in clients:
            if client.kind == "SET":
                for key, number in client.acknowledged.items():
                    assert asked("GET", key) == (b"$", b"%d" % number), (node.name, key)
        asked.close()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.start()
    assert Raw(cluster[0].port)("SET", "before", "1") == (b"+", b"OK")
    cluster.meet()
    yield cluster
    cluster.stop()


def test_a_node_that_stands_still_costs_the_others_no_error(cluster):
    others = [cluster[0], cluster[1]]
    clients = begin(others)
    for _ in range(2):
        cluster[2].stand_still()
        try:
            waiting = [client for client in clients if client.kind != "INCR"]
            before = [client.answered for client in waiting]
            time.sleep(STOPPED_SECONDS)
            assert all(client.answered > count for client, count in zip(waiting, before))
        finally:
            cluster[2].go_on()
        cluster.meet()
    end(clients)
    cluster.settle()
    check(clients, cluster.nodes)


def test_a_node_that_is_killed_costs_the_others_no_error(cluster):
    clients = begin([cluster[0], cluster[1]])
    cluster[2].kill()
    before = [client.answered for client in clients]
    wait_until(lambda: all(client.answered > count + 50 for client, count in zip(clients, before)),
               START_SECONDS, "they go on")
    end(clients)
    check(clients, [cluster[0], cluster[1]])
    cluster[2].start()
    cluster.settle()
    check(clients, cluster.nodes)


def test_nodes_that_all_stop_at_once_answer_or_close(cluster):
    clients = begin(cluster.nodes)
    for node in cluster.nodes:
        node.process.terminate()
    for node in cluster.nodes:
        assert node.process.wait(START_SECONDS) == 0
    end(clients)
    assert [client.errors for client in clients if client.errors] == []
    assert all(client.closed for client in clients)
