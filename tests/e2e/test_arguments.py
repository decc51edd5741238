"""Wrong arguments of the subcommands: each is named, with what is allowed, before anything is done."""

import socket
import subprocess

import pytest
from nodes import QUORATE, Node
from ports import free_port

TARGET = ["--target", "a=127.0.0.1:1"]
WRONG = [
    (["repair", "--range", "5"], "FIRST-LAST"),
    (["repair", "--range", "x-9"], "slot 'x' is not allowed; allowed: 0 to 16383"),
    (["repair", "--range", "0-16384"], "slot '16384' is not allowed; allowed: 0 to 16383"),
    (["repair", "--range", "9-5"], "the first slot, 9, is behind the last, 5"),
    (["repair", "--node", "nowhere"], "'nowhere' is not host:port"),
    (["bench", "--read-share", "7", *TARGET], "read_share: '7' is not allowed; allowed: 0 to 1"),
    (["bench", "--value-size", "536870913", *TARGET], "value_size: '536870913' is not allowed"),
    (["bench", "--pid", "5", *TARGET], "pid: '5' is not NAME=PID"),
    (["bench", "--pid", "a=x", *TARGET], "pid: 'a=x' is not NAME=PID"),
    (["bench", "--pid", "b=5", *TARGET], "pid: no target is named 'b'"),
    (["bench", "--pipeline", "0", *TARGET], "pipeline: at least 1"),
    (["bench", "--command", "nope", *TARGET], "command: 'nope' is not allowed; allowed: set, get"),
    (["hash", "k", "--hash", "sha1"], "there are one_at_a_time, md5, crc16"),
    (["hash", "k", "--hash", "md5", "--hash-tag", "{"], "hash tag: '{' is not allowed; allowed: two ASCII characters"),
    (["demo", "--port", "0"], "port: '0' is not allowed; allowed: 1 to"),
]


@pytest.mark.parametrize("arguments,expected", WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_arguments_are_named(arguments, expected):
    outcome = subprocess.run([QUORATE, *arguments], capture_output=True, text=True, timeout=20)
    assert outcome.returncode in (1, 2) and expected in outcome.stderr, outcome.stderr


def are_free(first):
    """Whether a demo could have all of its ports."""
    for port in (first + node + offset for node in range(3) for offset in (0, 5_000, 10_000)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


@pytest.mark.parametrize("offset", [1, 5_002, 10_000], ids=["client", "cluster-client", "peer"])
def test_a_demo_on_a_port_that_is_taken_says_which(tmp_path, offset):
    first = next(port for port in iter(free_port, None) if are_free(port))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + offset))
        taken.listen()
        outcome = subprocess.run([QUORATE, "demo", "--port", str(first), "--data-dir", str(tmp_path / "demo")],
                                 capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 1 and f"port {first + offset} cannot be listened on" in outcome.stderr
    assert outcome.stdout == "" and not (tmp_path / "demo").exists()


def test_where_keys_lie(tmp_path):
    def lines(*arguments):
        outcome = subprocess.run([QUORATE, "hash", *arguments], capture_output=True, text=True, timeout=20, check=True)
        return [line.split() for line in outcome.stdout.splitlines()[1:]]

    node = Node(tmp_path, name="n1").start()
    try:
        located = lines("foo", "{foo}bar", "--address", f"127.0.0.1:{node.port}")
    finally:
        node.stop()
    assert located == [["foo", "12182", str(12182 << 18), "n1"], ["{foo}bar", "12182", str(12182 << 18), "n1"]]
    assert lines("foo", "--hash", "murmur")[0][2] == lines("<foo>bar", "--hash", "murmur", "--hash-tag", "<>")[0][2] == "3303027599"
