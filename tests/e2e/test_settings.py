"""Wrong settings, as the operator meets them: what was wrong, where, and what is allowed."""

import subprocess

from nodes import QUORATE, Node


def refused(*arguments):
    done = subprocess.run([QUORATE, *map(str, arguments)], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    return done.stderr


def test_a_wrong_file_is_refused_with_place_and_advice(tmp_path):
    file = tmp_path / "node.yaml"
    for text, expected in [
        ("name: a\nrf: -1\n", ":2:5: rf: '-1' is not allowed; allowed: 1 to 16"),
        ("max_value_size: 5s", ":1:17: max_value_size: '5s' is not allowed; allowed: 1024 to 536870912 bytes"),
        ("rf: 1\nrf: 2", ":2:1: rf is given twice, first in line 1"),
        ("memory: perhaps", ":1:9: memory: 'perhaps' is not allowed; allowed: true, false"),
        ("entropy:\n  conections: 5", ":2:3: entropy.conections is no key; allowed: listen"),
    ]:
        file.write_text(text)
        for arguments in (["check-config", file], ["serve", "--config", file]):
            said = refused(*arguments)
            assert f"{file}{expected}" in said, said
            for word in ("invalid u16", "DuplicateKeyPolicy", "<input>", "sequence start"):
                assert word not in said, said


def test_a_wrong_flag_is_refused_with_what_is_allowed():
    assert "rf: '-1' is not allowed; allowed: 1 to 16" in refused("serve", "--rf", "-1")
    said = refused("serve", "--request-timeout-ms", "5mb")
    assert "request_timeout_ms: '5mb' is not allowed; allowed: 10 to 3600000 milliseconds" in said


def test_units_are_understood_in_file_and_flags(tmp_path):
    file = tmp_path / "node.yaml"
    file.write_text("max_value_size: 1mb\nhints_bytes_max: 1gb\n")
    node = Node(tmp_path / "node", arguments=["--config", file, "--request-timeout-ms", "2s"]).start()
    connection = node.raw()
    assert connection("CONFIG", "GET", "proto-max-bulk-len")[1][1] == (b"$", b"1048576")
    assert connection("CONFIG", "GET", "quorate-request-timeout-ms")[1][1] == (b"$", b"2000")
    node.kill()


def test_logs_without_their_identity_are_refused_with_advice(tmp_path):
    node = Node(tmp_path / "node").start()
    node.raw()("SET", "k", "v")
    node.stop()
    identity = node.directory / "data" / "node.json"
    kept = identity.read_bytes()
    identity.unlink()
    said = refused(*node.command()[1:])
    assert "node.json" in said and "put it back" in said and "empty one" in said, said
    assert not identity.exists(), "nothing was changed"
    identity.write_bytes(kept)
    node.start()
    assert node.raw()("GET", "k") == (b"$", b"v")
    node.kill()
