"""Bytes of memory that a key, or an element of a collection, takes beside another server.

    cargo build --release -p quorate-cli
    python3 tests/long/memory.py --quorate target/release/quorate --peer valkey-server

Each kind and size gets a pair of fresh servers without a log, Quorate with one shard. What is resident before and
after loading, divided by what was loaded, is the figure. A little of the same kind is loaded ahead, so that what a
process needs once, for its first commands, is no part of it. Needs no quiet machine.
"""

import argparse
import contextlib
import functools
import pathlib
import re
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))

from ports import free_port  # noqa: E402

ELEMENTS = 1_000_000
STRINGS = 1_000_000
AHEAD = 10_000
BATCH = 500
VALUE = b"v" * 64

# Of each kind, the words of one element.
KINDS = {
    "HSET": lambda number: [b"field:%010d" % number, b"value:%010d" % number],
    "SADD": lambda number: [b"member:%09d" % number],
    "ZADD": lambda number: [b"%d" % number, b"member:%09d" % number],
}


def encoded(words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def strings(numbers):
    for number in numbers:
        yield [b"SET", b"key:%012d" % number, VALUE]


def collections(command, size, numbers):
    for number in numbers:
        elements = range(size)
        for first in range(0, size, BATCH):
            words = [word for element in elements[first:first + BATCH] for word in KINDS[command](element)]
            yield [command.encode(), b"key:%012d" % number, *words]


@contextlib.contextmanager
def server(command):
    popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield popen.pid
    finally:
        popen.terminate()
        popen.wait()


def connected(port):
    for _ in range(1000):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


def load(port, commands):
    with connected(port) as client, client.makefile("rb") as replies:
        waiting = []

        def send():
            client.sendall(b"".join(waiting))
            for _ in waiting:
                assert replies.readline()[:1] in b":+", "a command was refused"
            waiting.clear()

        for words in commands:
            waiting.append(encoded(words))
            if len(waiting) == BATCH:
                send()
        send()


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024


def measure(command, port, commands, keys, count):
    with server(command) as pid:
        ahead = keys * AHEAD // count
        load(port, commands(range(ahead)))
        before = resident(pid)
        load(port, commands(range(ahead, ahead + keys)))
        return (resident(pid) - before) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quorate", required=True)
    parser.add_argument("--peer", default="valkey-server")
    options = parser.parse_args()
    rows = [("SET, 64 bytes", STRINGS, STRINGS, strings)]
    for command in KINDS:
        for size in (10, 10_000):
            commands = functools.partial(collections, command, size)
            rows.append((f"{command}, {size:,}", ELEMENTS // size, ELEMENTS, commands))
    print(f"| | {pathlib.Path(options.peer).name} | quorate | ratio |\n|---|---|---|---|")
    for name, keys, count, commands in rows:
        port = free_port()
        peer = [options.peer, "--port", str(port), "--save", ""]
        theirs = measure(peer, port, commands, keys, count)
        port = free_port()
        ours = [options.quorate, "serve", "--memory", "--shards", "1", "--listen", f"127.0.0.1:{port}"]
        ours += ["--peer-listen", "127.0.0.1:0", "--cluster-listen", "none"]
        ours = measure(ours, port, commands, keys, count)
        print(f"| {name} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
