"""redis-om and langchain-redis, as their documentation shows them, in an environment of their own (`clients`)."""

import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent / "clients"
CACHE = pathlib.Path(os.environ.get("QUORATE_TEST_CACHE", pathlib.Path.home() / ".cache" / "quorate-tests"))
PYTHON = CACHE / "clients" / "bin" / "python"


@pytest.mark.parametrize("nodes", ["one-node", "three-nodes"])
@pytest.mark.parametrize("usage", ["redis_om_usage.py", "langchain_usage.py"])
def test_a_library_works_unchanged(request, usage, nodes):
    assert PYTHON.exists(), f"{PYTHON} is missing: tests/run makes it"
    node = request.getfixturevalue("node") if nodes == "one-node" else request.getfixturevalue("cluster")[1]
    ended = subprocess.run([PYTHON, HERE / usage, str(node.port)], capture_output=True, text=True, timeout=120,
                           env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert ended.returncode == 0 and ended.stdout.endswith("ok\n"), ended.stdout + ended.stderr
