"""Servers for the tests: real processes on loopback, always stopped by pid."""

import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
from ports import free_port

QUORATE = os.environ["QUORATE_BINARY"]
START_SECONDS = 20


def encode(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Raw:
    """A connection that shows replies as the bytes they are."""

    def __init__(self, port, timeout=30, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def __call__(self, *words):
        self.send(encode(*words))
        return self.read()

    def read(self):
        """One whole reply, nested ones as lists of (type, ...)."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the connection was closed")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!":
            length = int(rest)
            if length < 0:
                return (kind, None)
            body = self.file.read(length + 2)
            return (kind, body[:-2])
        if kind in b"*~>":
            return (kind, None) if int(rest) < 0 else (kind, [self.read() for _ in range(int(rest))])
        if kind == b"%":
            return (kind, [self.read() for _ in range(2 * int(rest))])
        return (kind, rest)

    def close(self):
        self.file.close()
        self.socket.close()


class Process:
    """A server process that can be killed and started again."""

    def __init__(self, directory, port):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.process = None

    def command(self):
        raise NotImplementedError

    def log(self):
        return (self.directory / "stderr.log").read_text(errors="replace")

    def launch(self):
        with open(self.directory / "stderr.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        return self

    def start(self):
        self.launch()
        return self.start_ends()

    def start_ends(self):
        """Waits until it serves."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_running()
            if self.ping() == (b"+", b"PONG"):
                return self
            time.sleep(0.05)
        raise AssertionError(f"did not start in time:\n{self.log()}")

    def ping(self):
        """The answer to PING, `None` without any: a node that recovers its data answers LOADING."""
        try:
            probe = Raw(self.port, timeout=5)
            try:
                return probe("PING")
            finally:
                probe.close()
        except (OSError, EOFError):
            return None

    def check_running(self):
        code = self.process.poll()
        assert code is None, f"{self.command()} ended with {code}:\n{self.log()}"

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"did not stop in time:\n{self.log()}") from None
        return self.process.returncode

    def stand_still(self):
        self.process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def raw(self):
        return Raw(self.port)


class Redis(Process):
    def command(self):
        return ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no",
                "--databases", "1", "--enable-debug-command", "yes", "--bind", "127.0.0.1", "--dir", str(self.directory)]


class Node(Process):
    """A quorate node."""

    def __init__(self, directory, name=None, seeds=(), arguments=()):
        super().__init__(directory, free_port())
        self.peer_port = free_port()
        self.cluster_port = free_port()
        self.name = name
        self.seeds = list(seeds)
        self.arguments = list(arguments)

    def command(self):
        command = [QUORATE, "serve", "--listen", f"127.0.0.1:{self.port}",
                   "--peer-listen", f"127.0.0.1:{self.peer_port}",
                   "--cluster-listen", f"127.0.0.1:{self.cluster_port}",
                   "--data-dir", str(self.directory / "data")]
        if self.name:
            command += ["--name", self.name]
        for seed in self.seeds:
            command += ["--seed", seed if isinstance(seed, str) else f"127.0.0.1:{seed}"]
        return command + [str(argument) for argument in self.arguments]

    def status(self):
        connection = self.raw()
        try:
            reply = connection("QUORATE", "STATUS")
            if reply[0] == b"-":
                raise ConnectionError(reply[1])
            return fields(reply)
        finally:
            connection.close()

    def sees(self, name):
        """Whether a member is up, as far as this node knows."""
        return all(member["state"] != "down" for member in self.status()["members"] if member["name"] == name)

    def digest(self):
        output = subprocess.run(
            [QUORATE, "status", "--digest", "--address", f"127.0.0.1:{self.port}"],
            check=True, capture_output=True, text=True)
        return output.stdout.strip()


def fields(reply):
    """A RESP2 map as a dictionary of plain values."""
    values = [plain(value) for value in reply[1]]
    return dict(zip(values[::2], values[1::2]))


def plain(reply):
    kind, value = reply
    if kind == b":":
        return int(value)
    if kind in b"*~%":
        values = [plain(each) for each in value]
        named = values and all(isinstance(each, str) for each in values[::2]) and len(values) % 2 == 0
        return dict(zip(values[::2], values[1::2])) if named and "name" in values[::2] else values
    return value.decode() if value is not None else None


class Cluster:
    """Nodes that know each other."""

    def __init__(self, directory, count=3, arguments=()):
        directory = pathlib.Path(directory)
        self.nodes = [
            Node(directory / f"n{n}", name=f"n{n}",
                 arguments=["--rack", f"r{n}", "--rf", "3", *arguments])
            for n in range(1, count + 1)
        ]
        for node in self.nodes:
            node.seeds = [other.peer_port for other in self.nodes if other is not node]

    def start(self):
        for node in self.nodes:
            node.launch()
        self.meet()
        return self

    def meet(self, seconds=START_SECONDS):
        """Waits until everybody sees everybody. A node that ends meanwhile is a failure at once."""
        def all_see_all():
            for node in self.nodes:
                node.check_running()
            return all(self.sees_all(node) for node in self.nodes)

        try:
            wait_until(all_see_all, seconds, "the nodes find each other")
        except AssertionError as error:
            logs = [f"--- {node.name}\n{node.log()}" for node in self.nodes]
            raise AssertionError("\n".join([str(error), *logs])) from None

    def sees_all(self, node):
        try:
            members = node.status()["members"]
        except (OSError, EOFError):
            return False
        return len(members) == len(self.nodes) and all(m["state"] != "down" for m in members)

    def settled(self):
        """Whether nobody keeps anything for anybody, and everybody is up and has caught up."""
        for node in self.nodes:
            status = node.status()
            if not status["ready"]:
                return False
            if any(m["state"] == "down" or m["hints_pending"] or m["dirty_groups"] for m in status["members"]):
                return False
        return True

    def settle(self, seconds=90):
        wait_until(self.settled, seconds, "hints are delivered")
        wait_until(lambda: len({node.digest() for node in self.nodes}) == 1, seconds,
                   "the digests are equal")

    def stop(self):
        for node in self.nodes:
            node.kill()

    def __getitem__(self, index):
        return self.nodes[index]


def lacking(what):
    """Skips a test that this machine cannot run. CI runs all of them: there it fails."""
    if "CI" in os.environ:
        pytest.fail(what)
    pytest.skip(what)


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.1)
