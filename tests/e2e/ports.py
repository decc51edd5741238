"""Ports for the servers of tests."""

import itertools
import socket


def free_port():
    """A port of loopback for a server, which nobody else takes until it listens."""
    return PORTS.take()


class Ports:
    """Ports that this process alone hands out, from below those that connections are given.

    A port that the system chooses may be the source of a connection by the time a server listens on
    it. A block of ports belongs to the process that holds a socket at its start, on an address where
    nobody listens; so runs beside each other do not meet.
    """

    FIRST, LAST, BLOCK, MARK = 15_000, 31_999, 500, "127.0.0.99"

    def __init__(self):
        for first in range(self.FIRST, self.LAST - self.BLOCK + 2, self.BLOCK):
            self.mark = socket.socket()
            try:
                self.mark.bind((self.MARK, first))
            except OSError:
                self.mark.close()
                continue
            self.ports = itertools.cycle(range(first + 1, first + self.BLOCK))
            return
        raise AssertionError("every block of ports is taken")

    def take(self):
        for port in itertools.islice(self.ports, self.BLOCK):
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
        raise AssertionError("every port of the block is taken")


PORTS = Ports()
