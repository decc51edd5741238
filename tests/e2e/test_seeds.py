"""Seeds that somebody else names: a name service, a page, a file; and what they say changes."""

import http.server
import socket
import socketserver
import struct
import threading

import pytest
from nodes import Node, wait_until
from ports import free_port

SERVICE, TEXT = 33, 16


def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


class NameService:
    """Answers for what is in `records`, by name and kind, over datagrams and streams; nothing else exists."""

    def __init__(self):
        self.records, self.truncates, self.silent, self.asked = {}, False, False, 0
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = free_port()
        self.datagrams.bind(("127.0.0.1", self.port))
        self.streams = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.serve_datagrams, daemon=True).start()
        threading.Thread(target=self.serve_streams, daemon=True).start()

    def answer(self, question, whole):
        self.asked += 1
        at, labels = 12, []
        while length := question[at]:
            labels.append(question[at + 1:at + 1 + length].decode())
            at += 1 + length
        (kind,) = struct.unpack(">H", question[at + 1:at + 3])
        found = self.records.get((".".join(labels).lower(), kind))
        if found is None:
            return question[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + question[12:]
        records = [b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 5, len(data)) + data for data in found]
        flags = 0x8180
        if self.truncates and not whole:
            flags, records = flags | 0x200, []
        return question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question[12:] + b"".join(records)

    def serve_datagrams(self):
        while True:
            try:
                question, source = self.datagrams.recvfrom(4096)
            except OSError:
                return
            if self.silent:
                continue
            # Somebody else's answer comes first.
            self.datagrams.sendto(b"\0\0" + self.answer(question, False)[2:], source)
            self.datagrams.sendto(self.answer(question, False), source)

    def serve_streams(self):
        while True:
            try:
                stream, _ = self.streams.accept()
            except OSError:
                return
            with stream:
                (length,) = struct.unpack(">H", stream.recv(2))
                answer = self.answer(stream.recv(length), True)
                stream.sendall(struct.pack(">H", len(answer)) + answer)

    def services(self, name, ports):
        self.records[name, SERVICE] = [struct.pack(">HHH", 1, 1, port) + name_bytes("localhost") for port in ports]

    def texts(self, name, texts):
        self.records[name, TEXT] = [bytes([len(text)]) + text.encode() for text in texts]

    def close(self):
        self.datagrams.close()
        self.streams.close()


class Pages(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A manager in Florida's manner."""

    daemon_threads = True

    def __init__(self):
        self.text, self.status, self.asked = "", 200, []
        super().__init__(("127.0.0.1", 0), Page)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def names():
    service = NameService()
    yield service
    service.close()


@pytest.fixture
def pages():
    pages = Pages()
    yield pages
    pages.shutdown()
    pages.server_close()


@pytest.fixture
def make(tmp_path):
    nodes = []

    def make(seed, count=3, least=None):
        for number in range(len(nodes) + 1, len(nodes) + count + 1):
            arguments = ["--rack", f"r{number}", "--shards", "1", "--seeds-interval-seconds", "1",
                         "--seeds-min", count - 1 if least is None else least]
            nodes.append(Node(tmp_path / f"n{number}", name=f"n{number}", seeds=[seed], arguments=arguments))
        return nodes

    yield make
    for node in nodes:
        node.kill()


def members(node):
    return sorted(member["name"] for member in node.status()["members"]) if node.ping() else []


def meet(nodes):
    expected = sorted(node.name for node in nodes)
    for node in nodes:
        wait_until(lambda: node.check_running() or members(node) == expected, 30, "the nodes find each other")
    wait_until(lambda: nodes[0].raw()("SET", "k", "v") == (b"+", b"OK"), 20, "they serve")


def waits(node):
    return node.status()["waits_for"] if node.ping() else ""


def test_services_are_found_and_a_service_that_is_not_there_yet_is_waited_for(names, make):
    seed = f"srv://_quorate._tcp.nodes.example?server=127.0.0.1:{names.port}"
    nodes = [node.launch() for node in make(seed)]
    wait_until(lambda: seed in str(waits(nodes[0])), 20, "it waits for the name service")
    wait_until(lambda: "there is no such name" in nodes[0].log(), 20, "it says why")
    names.services("_quorate._tcp.nodes.example", [node.peer_port for node in nodes])
    meet(nodes)
    asked = names.asked
    wait_until(lambda: names.asked > asked + 3, 20, "it is asked again")


def test_texts_are_found_over_a_stream_when_they_are_long(names, make):
    names.truncates = True
    nodes = make(f"txt://nodes.example?server=127.0.0.1:{names.port}")
    names.texts("nodes.example", [f"127.0.0.1:{node.peer_port}" for node in nodes])
    for node in nodes:
        node.launch()
    meet(nodes)


def test_a_silent_name_service_stops_no_node_that_has_data(names, make):
    nodes = [node.launch() for node in make(f"txt://nodes.example?server=127.0.0.1:{names.port}")]
    names.texts("nodes.example", [f"127.0.0.1:{node.peer_port}" for node in nodes])
    meet(nodes)
    names.silent = True
    nodes[2].stop()
    nodes[2].start()
    wait_until(lambda: nodes[2].raw()("GET", "k") == (b"$", b"v"), 30, "it serves without")


def test_every_address_of_a_name_is_a_node(make):
    nodes = make("dns://localhost:1", count=1, least=0)
    first = nodes[0]
    first.seeds = [f"dns://localhost:{first.peer_port}"]
    first.start()
    # It finds itself, and perhaps an address of localhost where nobody listens.
    wait_until(lambda: not any("dns://" in waited for waited in first.status()["waits_for"].split(", ")), 20, "it has resolved")


def test_a_manager_names_nodes_as_dynomite_s_does_and_names_more_later(pages, make):
    nodes = make(f"http://127.0.0.1:{pages.server_port}")
    pages.status = 503
    for node in nodes[:2]:
        node.launch()
    wait_until(lambda: "status 503" in nodes[0].log(), 20, "it says why there are none")
    pages.status = 200
    listed = [f"127.0.0.1:{node.peer_port}:{node.name}:dc1:{number}" for number, node in enumerate(nodes)]
    pages.text = "|".join(listed[:2])
    wait_until(lambda: members(nodes[0]) == ["n1", "n2"], 30, "two are named")
    assert "1 more seeds" in str(waits(nodes[0]))
    pages.text = "|".join(listed)
    nodes[2].launch()
    meet(nodes)
    assert set(pages.asked) == {"/REST/v1/admin/get_seeds"}


def test_a_file_is_watched(make, tmp_path):
    path = tmp_path / "seeds"
    nodes = make(f"file:{path}")
    for node in nodes[:2]:
        node.launch()
    wait_until(lambda: "No such file" in nodes[0].log(), 20, "there is none yet")
    path.write_text("# all nodes\n" + "".join(f"127.0.0.1:{node.peer_port}\n" for node in nodes[:2]) + "nonsense\n")
    wait_until(lambda: members(nodes[0]) == ["n1", "n2"], 30, "two are named")
    wait_until(lambda: "nonsense" in nodes[0].log(), 20, "it says what is none")
    with open(path, "a") as file:
        file.write(f"127.0.0.1:{nodes[2].peer_port}\n")
    nodes[2].launch()
    meet(nodes)


def test_a_seed_of_no_kind_is_refused(tmp_path):
    for seed in ("srv://", "https://a/", "dns://a", f"embedder:{free_port()}x"):
        node = Node(tmp_path / "n", seeds=[seed]).launch()
        try:
            assert node.process.wait(20) == 1, seed
            assert seed in node.log() and "seeds" in node.log()
        finally:
            node.kill()
