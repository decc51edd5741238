import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from nodes import Cluster, Node, Redis, free_port  # noqa: E402


@pytest.fixture
def node(tmp_path):
    server = Node(tmp_path / "node").start()
    yield server
    server.kill()


@pytest.fixture
def cluster(tmp_path):
    servers = Cluster(tmp_path).start()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    server = Redis(tmp_path_factory.mktemp("redis"), free_port()).start()
    yield server
    server.kill()


@pytest.fixture(scope="session", params=[1, 2], ids=["one-shard", "two-shards"])
def shared_node(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("shared")
    server = Node(directory, arguments=["--shards", str(request.param)]).start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory):
    servers = Cluster(tmp_path_factory.mktemp("cluster")).start()
    yield servers
    servers.stop()
