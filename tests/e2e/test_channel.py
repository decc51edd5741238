"""The reconciliation channel inside `quorate serve`: the receiver and the periodic driver."""

import re
import signal
import socket
import subprocess
import time

import pytest

from nodes import QUORATE, Cluster, Node, encode, free_port, wait_until

KEY = b"01234567890123456"
IV = b"abcdefghijklmnop"


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "iv").write_bytes(IV)
    return ["--entropy-key-file", tmp_path / "key", "--entropy-iv-file", tmp_path / "iv"]


class Pair:
    """A node that is kept up to date by another one."""

    def __init__(self, directory, secret, interval=1, protocol="v2"):
        self.channel = free_port()
        self.target = Node(directory / "target", name="target", arguments=[
            *secret, "--entropy-listen", f"127.0.0.1:{self.channel}", "--entropy-protocol", protocol])
        self.source = Node(directory / "source", name="source", arguments=[
            *secret, "--entropy-peer", f"127.0.0.1:{self.channel}", "--entropy-recon-interval-seconds", interval])

    def __enter__(self):
        self.target.start()
        self.source.start()
        return self

    def __exit__(self, *_):
        self.source.kill()
        self.target.kill()


def info(node):
    connection = node.raw()
    text = connection("INFO", "entropy")[1].decode()
    connection.close()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def write(connection, first, count):
    for number in range(first, first + count):
        connection("SET", f"key-{number}", f"value-{number}")


def test_what_one_node_has_the_other_gets(tmp_path, secret):
    with Pair(tmp_path, secret) as pair:
        one, two = pair.source.raw(), pair.target.raw()
        write(one, 0, 500)
        one("HSET", "hash", "a", "1")
        one("SADD", "set", "x", "y")
        one("SET", "short", "lived", "EX", "1000")
        wait_until(lambda: two("DBSIZE") == (b":", b"503"), 30, "everything is there")
        assert two("GET", "key-499") == (b"$", b"value-499")
        assert two("PEXPIRETIME", "short") == one("PEXPIRETIME", "short")
        # Then nothing is shipped any more, and one change is one slot.
        wait_until(lambda: info(pair.source)["recon_last_slots_shipped"] == "0", 30, "all is equal")
        assert info(pair.source)["recon_last_slots_equal"] == "16384"
        shipped = int(info(pair.source)["recon_slots_shipped"])
        two("SET", "key-1", "newer there")
        one("SET", "key-0", "changed here")
        wait_until(lambda: two("GET", "key-0") == (b"$", b"changed here"), 30, "the change is there")
        wait_until(lambda: int(info(pair.source)["recon_slots_shipped"]) == shipped + 1, 30,
                   "one slot was shipped")
        assert two("GET", "key-1") == (b"$", b"newer there")
        found = info(pair.target)
        assert found["entropy_listen"] == f"127.0.0.1:{pair.channel}"
        assert int(found["entropy_snapshots_applied"]) >= 2 and found["entropy_snapshots_refused"] == "0"
        assert int(found["entropy_bytes_applied"]) == int(info(pair.source)["recon_bytes"]) > 0
        assert "recon_peer0" not in found and "# Entropy" not in pair.target.raw()("INFO", "server")[1].decode()
        peer = info(pair.source)["recon_peer0"]
        assert re.fullmatch(rf"endpoint=127.0.0.1:{pair.channel},slots_equal=\d+,slots_shipped=\d+,"
                            rf"bytes=\d+,failures=0,error=", peer), peer
        # Both stop in order, and what was merged is in the log.
        assert pair.source.stop() == 0 and pair.target.stop() == 0
        pair.target.start()
        assert pair.target.raw()("DBSIZE") == (b":", b"503")


def test_a_peer_that_is_away_is_tried_again(tmp_path, secret):
    with Pair(tmp_path, secret) as pair:
        one = pair.source.raw()
        write(one, 0, 10)
        wait_until(lambda: pair.target.raw()("DBSIZE") == (b":", b"10"), 30, "it is there")
        pair.target.kill()
        write(one, 10, 10)
        wait_until(lambda: int(info(pair.source)["recon_last_failures"]) == 1, 30, "the failure shows")
        found = info(pair.source)
        assert "cannot connect" in found["recon_peer0"] and int(found["recon_failures"]) >= 1
        assert "not reconciled" in pair.source.log()
        pair.target.start()
        wait_until(lambda: pair.target.raw()("DBSIZE") == (b":", b"20"), 30, "the rest is shipped")
        wait_until(lambda: info(pair.source)["recon_last_failures"] == "0", 30, "the failure is over")


def test_both_directions_bring_two_nodes_together(tmp_path, secret):
    ports = free_port(), free_port()
    nodes = [Node(tmp_path / f"n{n}", name=f"n{n}", arguments=[
        *secret, "--entropy-listen", f"127.0.0.1:{ports[n]}", "--entropy-peer",
        f"127.0.0.1:{ports[1 - n]}", "--entropy-recon-interval-seconds", 1]) for n in range(2)]
    try:
        for node in nodes:
            node.start()
        one, two = [node.raw() for node in nodes]
        for _ in range(50):
            one("INCR", "counter")
            two("INCRBY", "counter", "2")
        one("SADD", "members", "a")
        two("SADD", "members", "b")
        for connection in [one, two]:
            wait_until(lambda: connection("GET", "counter") == (b"$", b"150"), 30, "both are counted")
            wait_until(lambda: connection("SCARD", "members") == (b":", b"2"), 30, "both are there")
    finally:
        for node in nodes:
            node.kill()


def test_replicas_are_compared_by_digest_and_nothing_is_shipped(tmp_path, secret):
    channel = free_port()
    cluster = Cluster(tmp_path, count=2)
    first, second = cluster.nodes
    second.arguments += [*secret, "--entropy-listen", f"127.0.0.1:{channel}"]
    first.arguments += [*secret, "--entropy-recon-interval-seconds", 1, "--entropy-peer",
                        f"127.0.0.1:{channel},127.0.0.1:{second.port}"]
    try:
        cluster.start()
        write(first.raw(), 0, 200)
        cluster.settle()
        before = int(info(first)["recon_cycles"])
        wait_until(lambda: int(info(first)["recon_cycles"]) >= before + 2, 30, "it is compared")
        found = info(first)
        assert found["recon_last_slots_equal"] == "16384" and found["recon_last_slots_shipped"] == "0"
    finally:
        cluster.stop()


@pytest.mark.parametrize("who", ["source", "target"])
def test_a_transfer_under_way_does_not_hold_up_the_stop(tmp_path, secret, who):
    """The other side stands still, so the transfer would wait for its patience."""
    with Pair(tmp_path, secret, interval=1) as pair:
        one = pair.source.raw()
        for number in range(400):
            one("SET", f"big-{number}", b"x" * 200_000)
        wait_until(lambda: pair.target.raw()("DBSIZE") == (b":", b"400"), 60, "it is there")
        other = pair.target if who == "source" else pair.source
        for number in range(400):
            one("SET", f"big-{number}", b"y" * 200_000)
        other.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        began = time.monotonic()
        stopping = getattr(pair, who)
        try:
            assert stopping.stop() == 0
            assert time.monotonic() - began < 10
            assert "panicked" not in stopping.log()
        finally:
            other.process.send_signal(signal.SIGCONT)


def test_command_line_and_node_work_together(tmp_path, secret):
    """`quorate entropy send` into the port of a node, classic and version 2, as its receiver says."""
    with Pair(tmp_path, secret, protocol="any") as pair:
        stream = tmp_path / "stream"
        stream.write_bytes(b"".join(encode("SET", f"k{n}", n) for n in range(100)))
        for protocol in ["v2", "classic"]:
            command = [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{pair.channel}",
                       "--key-file", tmp_path / "key", "--iv-file", tmp_path / "iv",
                       "--protocol", protocol, "--file", stream]
            outcome = subprocess.run(command, capture_output=True, timeout=60)
            assert outcome.returncode == 0, outcome.stderr
        wait_until(lambda: info(pair.target)["entropy_snapshots_applied"] >= "2", 20, "both are counted")
        assert pair.target.raw()("GET", "k99") == (b"$", b"99")
        # A stranger is refused and counted, and harms nobody.
        with socket.create_connection(("127.0.0.1", pair.channel)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            stranger.settimeout(20)
            with pytest.raises(ConnectionResetError):
                assert stranger.recv(1) == b"" and False
        wait_until(lambda: info(pair.target)["entropy_snapshots_refused"] == "1", 20, "it is counted")
        assert "magic 0x47455420" in pair.target.log()
        assert KEY.decode()[:16] not in pair.target.log()


def test_wrong_settings_are_named(tmp_path, secret):
    node = Node(tmp_path / "node", arguments=["--entropy-listen", "127.0.0.1:0"])
    outcome = subprocess.run(node.command(), capture_output=True, timeout=30)
    assert outcome.returncode == 1
    assert b"entropy.key_file: '(none)' is not allowed" in outcome.stderr
    assert b"entropy.iv_file: '(none)' is not allowed" in outcome.stderr
    file = tmp_path / "quorate.yaml"
    key, iv = tmp_path / "key", tmp_path / "iv"
    good = f"""
entropy:
  listen: 127.0.0.1:8105
  key_file: {key}
  iv_file: {iv}
  protocol: any
  recon_interval_seconds: 60
  connections: 8
  peers:
    - endpoint: 10.0.0.7:8105
      node: 10.0.0.7:6379
    - endpoint: 10.0.0.8:8105
"""
    file.write_text(good)
    check = lambda: subprocess.run([QUORATE, "check-config", file], capture_output=True, timeout=30)
    outcome = check()
    assert outcome.returncode == 0 and b"10.0.0.8:8105" in outcome.stdout, outcome.stderr
    for wrong, right, text in [
        ("recon_interval_seconds: 0", "recon_interval_seconds: 60",
         "entropy.recon_interval_seconds: '0' is not allowed; allowed: 1 to 86400"),
        ("endpoint: nowhere", "endpoint: 10.0.0.7:8105",
         "entropy.peers: 'nowhere,10.0.0.7:6379' is not allowed; allowed: endpoint and node host:port"),
        ("protocol: tls", "protocol: any", "entropy.protocol: 'tls' is not allowed; allowed: v2, classic, any"),
        (f"key_file: {tmp_path}/none", f"key_file: {key}", f"entropy.key_file: '{tmp_path}/none' is not allowed"),
        ("recon_interval: 1", "connections: 8", "recon_interval"),
    ]:
        file.write_text(good.replace(right, wrong))
        outcome = check()
        assert outcome.returncode == 1 and text in outcome.stderr.decode(), outcome.stderr
    # An address that is taken stops the start, and says which key.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = Node(tmp_path / "node", arguments=[*secret, "--entropy-listen", f"127.0.0.1:{port}"])
        outcome = subprocess.run(node.command(), capture_output=True, timeout=30)
        assert outcome.returncode == 1 and b"entropy.listen: cannot listen on" in outcome.stderr
