"""redis-py's own tests of JSON and of search, as its source package has them, against one node and three.

All of them run: whatever is skipped, and is not named here with its reason, is a failure. So is a test that is named
here and passes. The reasons are in the book as well.
"""

import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import pytest

HERE = pathlib.Path(__file__).parent
CACHE = pathlib.Path(os.environ.get("QUORATE_TEST_CACHE", pathlib.Path.home() / ".cache" / "quorate-tests"))
SOURCE = pathlib.Path(os.environ.get("QUORATE_REDIS_PY", CACHE / "redis-py" / "source"))
BOOK = HERE.parent.parent / "docs" / "src" / "compatibility.md"

FILES = {
    "json": ["tests/test_json.py", "tests/test_asyncio/test_json.py"],
    "search": ["tests/test_search.py", "tests/test_asyncio/test_search.py"],
}
OLDER = "what servers before 7.9 have answered"
# Tests of search that differ, with asyncio and without.
IN_BOTH = {
    "test_client": "FT.DEL is not there",
    "test_get": "FT.MGET is not there",
    "test_aggregations_groupby": "what is first without an order is that of the first key",
    "test_search_commands_in_pipeline": "FT.CREATE in a transaction",
    "test_scores": OLDER,
    "test_scorer": OLDER,
    "test_config": OLDER,
}
# By files, tests that differ on purpose: where (everywhere, with some nodes, or with a protocol), and why.
DIFFERING = {
    "json": {
        "test_json.test_json_commands_in_pipeline": ("three-nodes", "a transaction of keys in several slots"),
    },
    "search": {
        **{f"{file}.{name}": ("everywhere", why)
           for name, why in IN_BOTH.items() for file in ("test_search", "test_asyncio.test_search")},
        "test_search.test_synupdate": ("everywhere", "equal scores come in the order of keys"),
        "test_search.test_dialect": ("everywhere", "dialect 1 takes more"),
        **{f"test_search.{name}": ("everywhere", OLDER) for name in (
            "test_expire", "test_profile", "test_profile_limited", "test_profile_query_params",
            "test_profile_with_no_warnings")},
        "test_search.test_binary_and_text_fields": ("resp3", "redis-py leaves it out"),
        "test_asyncio.test_search.test_binary_and_text_fields": ("resp3", "redis-py leaves it out"),
    },
}


def results(port, protocol, files, report):
    """What has become of every test: by name, `passed` or what was wrong."""
    address = f"redis://127.0.0.1:{port}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "redis_py_versions",
               "-o", "asyncio_mode=auto", "-o", "addopts=", "-o", "filterwarnings=ignore", "--timeout", "120",
               "--redis-url", address, "--redis-mod-url", address, "--protocol", str(protocol),
               "--junitxml", str(report), *files]
    paths = os.pathsep.join([str(HERE), str(SOURCE)])
    output = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=1200,
                            env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"})
    assert report.exists(), output.stdout + output.stderr
    return read(report)


def read(report):
    found = {}
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".removeprefix("tests.")
        wrong = [child for child in case if child.tag in ("failure", "error", "skipped")]
        found[name] = "passed" if not wrong else f"{wrong[0].tag}: {wrong[0].get('message')}"
    return found


def plain(name):
    """Without what a test is repeated with."""
    return name.split("[")[0]


def unexpected(found, differing):
    wrong = {name: result for name, result in found.items() if result != "passed" and plain(name) not in differing}
    names = {plain(name) for name in found}
    passing = names - {plain(name) for name, result in found.items() if result != "passed"}
    for name in differing:
        if name not in names:
            wrong[name] = "is named here, and there is no such test"
        elif name in passing:
            wrong[name] = "is named here, and passes"
    return wrong


@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("nodes", ["one-node", "three-nodes"])
@pytest.mark.parametrize("suite", FILES)
def test_tests_of_redis_py_pass(request, tmp_path, suite, nodes, protocol):
    assert SOURCE.exists(), f"{SOURCE} is missing: tests/run fetches it"
    node = request.getfixturevalue("node") if nodes == "one-node" else request.getfixturevalue("cluster")[1]
    found = results(node.port, protocol, FILES[suite], tmp_path / "report.xml")
    assert len(found) >= 100, found
    here = ("everywhere", nodes, f"resp{protocol}")
    differing = [name for name, (where, _) in DIFFERING[suite].items() if where in here]
    assert unexpected(found, differing) == {}


def test_the_book_names_what_differs():
    book = BOOK.read_text()
    for name in [name for differing in DIFFERING.values() for name in differing]:
        assert f"`{name.rsplit('.', 1)[1]}`" in book, name


def test_the_comparison_can_fail(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text("<testsuites><testsuite>"
                      "<testcase classname='tests.test_json' name='test_good'/>"
                      "<testcase classname='tests.test_json' name='test_bad'><failure message='no'/></testcase>"
                      "<testcase classname='tests.test_json' name='test_left_out'><skipped message='old'/></testcase>"
                      "</testsuite></testsuites>")
    found = read(report)
    assert set(unexpected(found, [])) == {"test_json.test_bad", "test_json.test_left_out"}
    known = ["test_json.test_bad", "test_json.test_left_out", "test_json.test_good"]
    assert set(unexpected(found, known)) == {"test_json.test_good"}
    assert set(unexpected(found, [*known, "test_json.test_gone"])) >= {"test_json.test_gone"}
