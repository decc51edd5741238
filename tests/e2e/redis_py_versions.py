"""A plugin for redis-py's own tests: no test is left out because of a version, and clients are those of one server.

Every node serves every key, so a client that knows of no cluster works with any of them. What is there is of several
versions at once; which tests run is decided here.
"""

import sys

INFO = {
    # Newer than any that a test asks for.
    "redis_version": "99.0.0",
    "modules": [{"name": "search", "ver": 999_999}, {"name": "ReJSON", "ver": 999_999}],
    "cluster_enabled": 0,
}


def pytest_configure():
    conftest = sys.modules["tests.conftest"]
    asked = conftest._get_info
    conftest._get_info = lambda url: {**asked(url), **INFO}
