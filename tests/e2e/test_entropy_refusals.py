"""Every refusal of the reconciliation channel, against running receivers: `quorate entropy receive` and a node.

Each case sends its bytes, sees the connection closed, finds the field and its value in the log, finds memory as
it was, and sees the next good sender served.
"""

import pathlib
import re
import socket
import struct
import subprocess
import sys

import pytest

from nodes import QUORATE, Node, encode, free_port, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "crates/quorate-entropy/tests/vectors"))
from make import gcm, session_keys  # noqa: E402

KEY, IV = b"0123456789012345", b"abcdefghijklmnop"
V1, V2 = 0x64640001, 0x64640002
MIB = 1 << 20

# What one connection may cost for a moment: a chunk of 5 MiB, and what the allocator makes of it.
CONNECTION_KIB = 12 << 10


def openssl(data, *arguments):
    command = ["openssl", "enc", "-aes-128-cbc", "-K", KEY.hex(), "-iv", IV.hex(), *arguments]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def negotiation(magic=V1, command=1, header_size=8, buffer_size=64, cipher_size=1088):
    return struct.pack(">5I", magic, command, header_size, buffer_size, cipher_size)


def snapshot(total, flag=1, header_size=8):
    return struct.pack(">2I", total, flag).ljust(header_size, b"\0")


def chunk(payload):
    return struct.pack(">I", len(payload)) + payload


GOOD = negotiation()
HELLO = encode("PING")[:5]  # any five bytes
SEALED = openssl(HELLO)
DAMAGED = SEALED[:-1] + bytes([SEALED[-1] ^ 1])
UNPADDED = openssl(b"x" * 15 + b"\x00", "-nopad")  # a block whose last byte is no length

CLASSIC = {
    "magic": (b"GET / HTTP/1.1\r\n\r\n", "magic 0x47455420; known: 0x64640001, 0x64640002"),
    "magic-zero": (bytes(20), "magic 0x00000000; known"),
    "command-0": (negotiation(command=0), "command 0; allowed: 1 (SEND)"),
    "command-2": (negotiation(command=2), "command 2; allowed: 1 (SEND)"),
    "header_size-7": (negotiation(header_size=7), "header_size 7; allowed: 8 to 1024"),
    "header_size-0": (negotiation(header_size=0), "header_size 0; allowed: 8 to 1024"),
    "header_size-1025": (negotiation(header_size=1025), "header_size 1025; allowed: 8 to 1024"),
    "header_size-max": (negotiation(header_size=0xffffffff), "header_size 4294967295; allowed"),
    "buffer_size-0": (negotiation(buffer_size=0), "buffer_size 0; allowed: 1 to 5242880"),
    "buffer_size-above": (negotiation(buffer_size=5 * MIB + 1), "buffer_size 5242881; allowed: 1 to 5242880"),
    "cipher_size-0": (negotiation(cipher_size=0), "cipher_size 0; allowed: 1 to 5242880"),
    "cipher_size-above": (negotiation(cipher_size=5 * MIB + 1), "cipher_size 5242881; allowed: 1 to 5242880"),
    "cipher_size-max": (negotiation(cipher_size=0xffffffff), "cipher_size 4294967295; allowed: 1 to 5242880"),
    "encrypt_flag-2": (GOOD + snapshot(5, 2), "encrypt_flag 2; allowed: 0, 1"),
    "encrypt_flag-max": (GOOD + snapshot(5, 0xffffffff), "encrypt_flag 4294967295; allowed: 0, 1"),
    "plaintext": (GOOD + snapshot(5, 0), "encrypt_flag 0; allowed: 1, because plaintext is not"),
    "total_len": (GOOD + snapshot(0xffffffff), "total_len 4294967295; allowed: 0 to 4294967294"),
    "chunk-0": (GOOD + snapshot(5) + chunk(b""), "chunk_len 0; allowed: 1 to 1088"),
    "chunk-above": (GOOD + snapshot(5) + struct.pack(">I", 1089), "chunk_len 1089; allowed: 1 to 1088"),
    "chunk-max": (GOOD + snapshot(5) + struct.pack(">I", 0xffffffff), "chunk_len 4294967295; allowed: 1 to 1088"),
    "chunk-without-plaintext": (GOOD + snapshot(5) + chunk(openssl(b"")), "chunk_len 16 of a chunk without plaintext"),
    "overshoot": (GOOD + snapshot(4) + chunk(SEALED), "total_len 4, but the chunks hold 5 bytes"),
    "behind": (GOOD + snapshot(5) + chunk(SEALED) + b"\0", "bytes behind the last chunk"),
    "behind-empty": (GOOD + snapshot(0) + chunk(SEALED), "bytes behind the last chunk"),
    "cut-in-magic": (GOOD[:3], "the stream ended inside the magic"),
    "cut-in-negotiation": (GOOD[:19], "the stream ended inside the negotiation header"),
    "cut-before-snapshot": (GOOD, "the stream ended inside the snapshot header"),
    "cut-in-padding": (negotiation(header_size=1024) + snapshot(5, 1, 1023), "the stream ended inside the snapshot header"),
    "cut-before-chunk": (GOOD + snapshot(5), "the stream ended inside chunk_len"),
    "cut-in-length": (GOOD + snapshot(5) + b"\0\0", "the stream ended inside chunk_len"),
    "cut-in-chunk": (GOOD + snapshot(5) + chunk(SEALED)[:-1], "the stream ended inside a chunk"),
    "cut-between-chunks": (GOOD + snapshot(9) + chunk(SEALED), "the stream ended inside chunk_len"),
    "announced-5-MiB": (negotiation(cipher_size=5 * MIB) + snapshot(0xfffffffe) + struct.pack(">I", 5 * MIB) + b"x",
                        "the stream ended inside a chunk"),
    "ciphertext-15": (GOOD + snapshot(5) + chunk(bytes(15)), "ciphertext of 15 bytes; allowed: positive multiples of 16"),
    "ciphertext-17": (GOOD + snapshot(5) + chunk(bytes(17)), "ciphertext of 17 bytes; allowed: positive multiples of 16"),
    "padding-damaged": (GOOD + snapshot(5) + chunk(DAMAGED), "crypto: bad padding: another key or IV, or damaged data"),
    "padding-zero": (GOOD + snapshot(5) + chunk(UNPADDED), "crypto: bad padding: another key or IV, or damaged data"),
}


def hello(magic=V2, suite=1, wants=0, record_max=65536, nonce=b"n" * 32):
    return struct.pack(">IHHI", magic, suite, wants, record_max) + nonce


class Sealed:
    """A sender of version 2 that knows the secret and says what it likes."""

    def __init__(self, stream):
        own = hello()
        stream.sendall(own)
        theirs = b""
        while len(theirs) < 44:
            theirs += stream.recv(44 - len(theirs)) or pytest.fail("no hello")
        self.keys = session_keys(KEY + IV, own, theirs)
        self.number = 0

    def proof(self):
        return self.keys["sender proof"]

    def record(self, kind, body, length=None):
        nonce = bytearray(self.keys["sender nonce"])
        for place, byte in enumerate(struct.pack(">Q", self.number), 4):
            nonce[place] ^= byte
        self.number += 1
        head = struct.pack(">BI", kind, len(body) + 16 if length is None else length)
        return head + gcm(self.keys["sender key"], bytes(nonce), head, body)

    def total(self, kind, total):
        return self.record(kind, struct.pack(">Q", total))


BEGIN, DATA, END, APPLIED = 1, 2, 3, 4

HELLOS = {
    "suite": (hello(suite=2), "suite 2; allowed: 1"),
    "wants": (hello(wants=1), "wants 1; allowed: 0 to 0"),
    "record_max-small": (hello(record_max=1023), "record_max 1023; allowed: 1024 to 5242880"),
    "record_max-large": (hello(record_max=5 * MIB + 1), "record_max 5242881; allowed: 1024 to 5242880"),
    "cut-in-hello": (hello()[:43], "closed the connection before its hello"),
    "cut-before-proof": (hello(), "closed the connection before its proof"),
}

RECORDS = {
    "proof": (lambda s: bytes(32), "crypto: the peer has another secret"),
    "cut-before-begin": (lambda s: s.proof(), "the stream ended inside a record's head"),
    "data-first": (lambda s: s.proof() + s.record(DATA, HELLO), "record kind 2; allowed first: 1 (begin)"),
    "begin-short": (lambda s: s.proof() + s.record(BEGIN, b"1234"), "begin record of 4 bytes; allowed: 8"),
    "kind": (lambda s: s.proof() + s.total(BEGIN, 5) + s.record(9, b""), "record kind 9; allowed: 2 (data), 3 (end)"),
    "begin-twice": (lambda s: s.proof() + s.total(BEGIN, 5) + s.total(BEGIN, 5), "record kind 1; allowed: 2 (data)"),
    "length-small": (lambda s: s.proof() + s.record(BEGIN, b"", 15), "record length 15; allowed: 16 to"),
    "length-max": (lambda s: s.proof() + s.record(BEGIN, b"", 0xffffffff), "record length 4294967295; allowed: 16 to"),
    "data-empty": (lambda s: s.proof() + s.total(BEGIN, 5) + s.record(DATA, b""), "a data record without data"),
    "overshoot": (lambda s: s.proof() + s.total(BEGIN, 4) + s.record(DATA, HELLO), "total 4, but the records hold 5 bytes"),
    "end-early": (lambda s: s.proof() + s.total(BEGIN, 9) + s.record(DATA, HELLO) + s.total(END, 9),
                  "total 9, but the records hold 5 bytes"),
    "end-differs": (lambda s: s.proof() + s.total(BEGIN, 2**64 - 1) + s.record(DATA, HELLO) + s.total(END, 6),
                    "total 6, but the records hold 5 bytes"),
    "behind": (lambda s: s.proof() + s.total(BEGIN, 0) + s.total(END, 0) + b"\0", "bytes behind the last record"),
    "cut-in-record": (lambda s: s.proof() + s.total(BEGIN, 5)[:-1], "the stream ended inside a record"),
    "cut-before-end": (lambda s: s.proof() + s.total(BEGIN, 5), "the stream ended inside a record's head"),
    "damaged": (lambda s: s.proof() + s.total(BEGIN, 5)[:-1] + b"\0", "crypto: a record does not open"),
    "out-of-order": (lambda s: (s.proof(), s.total(BEGIN, 5))[0] + s.total(BEGIN, 5), "crypto: a record does not open"),
}


class Receiving:
    """A process that receives, by either way to start one, and a node or a file to see what it applied."""

    def __init__(self, directory, kind):
        self.directory, self.kind = directory, kind
        self.port = free_port()
        (directory / "key").write_bytes(KEY)
        (directory / "iv").write_bytes(IV)
        self.secret = ["--key-file", directory / "key", "--iv-file", directory / "iv"]
        self.log_file = directory / "log"
        self.seen = 0
        if kind == "serve":
            self.node = Node(directory / "node", arguments=[
                "--entropy-listen", f"127.0.0.1:{self.port}", "--entropy-key-file", directory / "key",
                "--entropy-iv-file", directory / "iv", "--entropy-protocol", "any"]).start()
            self.process, self.log_file = self.node.process, self.node.directory / "stderr.log"
        else:
            self.target = directory / "target"
            with open(self.log_file, "wb") as log:
                self.process = subprocess.Popen(
                    [QUORATE, "entropy", "receive", "--listen", f"127.0.0.1:{self.port}", *self.secret,
                     "--file", self.target, "--protocol", "any"], stdout=subprocess.DEVNULL, stderr=log)
            wait_until(lambda: "listening" in self.log_file.read_text(), 20, "it listens")
        self.number = 0
        self.good()

    def text(self):
        """What was logged since it was last asked for."""
        return self.log_file.read_bytes()[self.seen:].decode(errors="replace")

    def mark(self):
        self.seen = self.log_file.stat().st_size

    def memory_kib(self):
        """The most that was ever resident."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])

    def applied(self):
        if self.kind == "serve":
            return self.node.raw()("GET", "good")[1]
        return self.target.read_bytes()

    def good(self):
        """A sender as it should be, in both protocols by turns."""
        self.number += 1
        value = b"%d" % self.number
        sent = encode("SET", "good", value) if self.kind == "serve" else value
        protocol = ["v2", "classic"][self.number % 2]
        command = [QUORATE, "entropy", "send", "--peer", f"127.0.0.1:{self.port}", *self.secret, "-",
                   "--protocol", protocol]
        outcome = subprocess.run(command, input=sent, capture_output=True, timeout=60)
        assert outcome.returncode == 0, outcome.stderr
        wait_until(lambda: self.applied() == value, 20, "the good snapshot is applied")

    def refuses(self, stream, text):
        """`stream` gives the bytes for a connection."""
        before, applied = self.memory_kib(), self.applied()
        self.mark()
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            data = stream(connection)
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                # An answer of version 2 may come first, then the end; classic resets.
                while connection.recv(4096):
                    pass
            except (ConnectionResetError, BrokenPipeError, OSError) as error:
                assert not isinstance(error, TimeoutError), "the connection was not closed"
        wait_until(lambda: "a snapshot was refused" in self.text(), 20, "the refusal is logged")
        assert text in self.text()
        assert self.memory_kib() <= before + CONNECTION_KIB
        assert self.applied() == applied, "nothing was applied"
        self.good()
        assert self.process.poll() is None and "panicked" not in self.text()
        assert KEY.decode() not in self.text() and IV.decode() not in self.text()

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module", params=["receive", "serve"])
def receiving(request, tmp_path_factory):
    receiver = Receiving(tmp_path_factory.mktemp(request.param), request.param)
    yield receiver
    receiver.stop()


@pytest.mark.parametrize("case", CLASSIC)
def test_classic(receiving, case):
    data, text = CLASSIC[case]
    receiving.refuses(lambda _: data, text)


@pytest.mark.parametrize("case", HELLOS)
def test_version_2_hello(receiving, case):
    data, text = HELLOS[case]
    receiving.refuses(lambda _: data, text)


@pytest.mark.parametrize("case", RECORDS)
def test_version_2_record(receiving, case):
    make, text = RECORDS[case]
    receiving.refuses(lambda connection: make(Sealed(connection)), text)


def test_hundreds_of_refusals_leave_memory_as_it_was(receiving):
    before = receiving.memory_kib()
    receiving.mark()
    for number in range(300):
        data = list(CLASSIC.values())[number % len(CLASSIC)][0]
        with socket.create_connection(("127.0.0.1", receiving.port), timeout=20) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except OSError as error:
                assert not isinstance(error, TimeoutError), "the connection was not closed"
    wait_until(lambda: receiving.text().count("a snapshot was refused") >= 300, 60, "each is logged")
    assert receiving.memory_kib() <= before + CONNECTION_KIB
    receiving.good()


WRONG = {
    "buffer_size-0": (["--buffer-size", "0"], "buffer_size 0; allowed: 1 to 5242880"),
    "buffer_size-above": (["--buffer-size", str(5 * MIB + 1)], "buffer_size 5242881; allowed: 1 to 5242880"),
    "buffer_size-largest": (["--buffer-size", str(5 * MIB)], "buffer_size 5242880; allowed with encryption: 16 to 5242864"),
    "buffer_size-17": (["--buffer-size", "17"], "buffer_size 17; allowed with encryption: multiples of 16"),
    "header_size-7": (["--header-size", "7"], "header_size 7; allowed: 8 to 1024"),
    "header_size-1025": (["--header-size", "1025"], "header_size 1025; allowed: 8 to 1024"),
    "plain": (["--plain"], "encrypt false; allowed only with the classic protocol"),
}


# A receiver takes the header size that its sender says.
@pytest.mark.parametrize("side, case", [("send", case) for case in WRONG] + [
    ("receive", case) for case in WRONG if not case.startswith("header_size")])
def test_settings_are_refused_by_name_and_value(receiving, side, case):
    arguments, text = WRONG[case]
    where = ["--peer", f"127.0.0.1:{receiving.port}"] if side == "send" else ["--listen", "127.0.0.1:0"]
    command = [QUORATE, "entropy", side, *where, *receiving.secret, "-", *arguments]
    outcome = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    assert outcome.returncode == 1
    assert f"configuration: {text}" in outcome.stderr.decode()


BLOCK = "-----BEGIN KEY-----\n%s\n-----END KEY-----\n"
SECRETS = {
    "short": (b"012345678901234\n", "15 bytes of secret; 16 are needed"),
    "empty": (b"", "0 bytes of secret; 16 are needed"),
    "pem-short": ((BLOCK % "MDEyMzQ1").encode(), "6 bytes of secret; 16 are needed"),
    "pem-without-end": (b"-----BEGIN KEY-----\nMDEyMzQ1Njc4OWFiY2RlZg==\n", "PEM block without an END line"),
    "pem-bad-base64": ((BLOCK % "MDEyMzQ1*c4OWFiY2RlZg==").encode(), "PEM block with bad base64"),
    "large": (b"x" * 70_000, "70000 bytes; at most 65536 are read"),
    "missing": (None, "No such file"),
}


@pytest.mark.parametrize("side", ["send", "receive", "serve"])
@pytest.mark.parametrize("which", ["key", "iv"])
@pytest.mark.parametrize("case", SECRETS)
def test_secrets_are_refused_by_file_and_reason(tmp_path, side, which, case):
    contents, text = SECRETS[case]
    for name, value in [("key", KEY), ("iv", IV)]:
        (tmp_path / name).write_bytes(value)
    if contents is None:
        (tmp_path / which).unlink()
    else:
        (tmp_path / which).write_bytes(contents)
    files = [tmp_path / "key", tmp_path / "iv"]
    if side == "serve":
        command = Node(tmp_path / "node", arguments=[
            "--entropy-listen", "127.0.0.1:0", "--entropy-key-file", files[0], "--entropy-iv-file", files[1]]).command()
    else:
        where = ["--peer", "127.0.0.1:1"] if side == "send" else ["--listen", "127.0.0.1:0"]
        command = [QUORATE, "entropy", side, *where, "--key-file", files[0], "--iv-file", files[1], "-"]
    outcome = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    assert outcome.returncode == 1
    said = outcome.stderr.decode()
    assert f"{which} file {tmp_path}/{which}: " in said and text in said
    if contents:
        assert contents.decode().strip()[:40] not in said, "the secret does not appear"


@pytest.mark.parametrize("contents", [
    b"01234567890123456", b"0123456789012345\r\n \n", (BLOCK % "MDEyMzQ1Njc4OTAxMjM0NQ==").encode(),
    (BLOCK % "MDEyMzQ1Njc4\r\nOTAxMjM0NTY3ODk=").encode()], ids=["17", "white-space", "pem", "pem-lines"])
def test_the_same_secret_in_other_files(receiving, tmp_path, contents):
    (tmp_path / "key").write_bytes(contents)
    kept, receiving.secret = receiving.secret, ["--key-file", tmp_path / "key", *receiving.secret[2:]]
    try:
        receiving.good()
    finally:
        receiving.secret = kept
