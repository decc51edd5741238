"""What `INFO` and `SLOWLOG` say of commands, beside a real redis-server: what a client sent is what is counted."""

import pytest
from test_conformance import SCRIPTS, words
from test_sorted_sets import SCRIPTS as SORTED_SETS

MORE = """
SET k v | COPY k j | COPY no j | COPY k j REPLACE | RENAME j i | RENAMENX i k | RENAMENX i h | TOUCH h no | OBJECT ENCODING h | MEMORY USAGE h | DEBUG OBJECT h
SADD s 1 | COPY s t | HSET h a 1 | COPY h t REPLACE | ZADD z 1 a | COPY z t REPLACE | SPOP s | SPOP s 1 | SPOP s 0 | SRANDMEMBER no | HRANDFIELD h | ZRANDMEMBER z 2
SADD a 1 | SADD b 1 | SUNIONSTORE c a b no | SINTERSTORE c a no b | SINTERSTORE c a b | SDIFFSTORE c a b no | SMOVE a b 1 | SMOVE no b 1 | SINTER b no a
ZADD a 1 x | ZADD b 1 x | ZUNIONSTORE c 3 a b no | ZINTERSTORE c 3 a no b | ZDIFFSTORE c 2 a b | ZDIFFSTORE c 2 no b | ZRANGESTORE c a 0 1 | ZRANGESTORE c no 0 1 | ZMPOP 2 no a MIN
SET a 1 EX 100 | GETEX a PERSIST | GETEX a EX 10 | GETEX a | GETEX no EX 10 | SET a 1 GET | SET b 1 GET | SET d 1 XX GET | GETSET a 1 | GETSET e 1 | GETDEL a | GETDEL a | MSETNX a 1 b 2
SET a 1 | WATCH a b | UNWATCH | MULTI | GET a | GET no | SET a 1 | INCR a | DEL no | COPY a b | EXEC | RANDOMKEY | DBSIZE
""".strip().splitlines()

# What only redis-server counts: keys whose kind `SCAN ... TYPE` looks at, and a set of which `SPOP` takes all.
UNCOUNTED = ("SCAN", "SPOP")


class Counting:
    """A server, and what it counts of what is asked of it."""

    def __init__(self, server):
        self.client, self.observer = server.raw(), server.raw()
        self.client("FLUSHALL")

    def lookups(self):
        lines = self.observer("INFO", "stats")[1].decode().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(fields["keyspace_hits"]), int(fields["keyspace_misses"])

    def counted(self, command):
        hits, misses = self.lookups()
        self.client(*command)
        now = self.lookups()
        return now[0] - hits, now[1] - misses

    def close(self):
        self.client.close()
        self.observer.close()


def with_one_slot(client, command):
    """The command with keys of one slot: a piece of a command over several is one that counts by itself."""
    kind, keys = client("COMMAND", "GETKEYS", *command)
    keys = {key.decode() for _, key in keys} if kind == b"*" else set()
    return [f"{{t}}{word}" if word in keys and at > 0 else word for at, word in enumerate(command)]


@pytest.mark.parametrize("script", SCRIPTS + SORTED_SETS + MORE, ids=lambda script: script.split(" | ")[0])
def test_hits_and_misses_are_those_of_redis(shared_node, redis_server, script):
    ours, theirs = Counting(shared_node), Counting(redis_server)
    for line in script.split(" | "):
        command = with_one_slot(theirs.observer, words(line.strip()))
        if command[0] not in UNCOUNTED:
            assert ours.counted(command) == theirs.counted(command), command
    ours.close()
    theirs.close()


# Everything that ends in another way: at once, with an error, piece by piece, in a transaction, not at all.
LOGGED = """
PING | PING a b | SET a 1 | INCR str | GET | NOSUCH a | LPUSH | OBJECT ENCODING a | MEMORY USAGE a | MEMORY USAGE no | MEMORY USAGE a SAMPLES x | DEBUG OBJECT a | DEBUG OBJECT no
AUTH default pw | AUTH pw | AUTH nobody pw | AUTH a b c | HELLO 2 | HELLO 9 | HELLO x | HELLO 2 AUTH default pw | HELLO 2 AUTH nobody pw SETNAME me | HELLO 2 SETNAME me
MULTI | MULTI | WATCH x | SET a 1 | EXEC | EXEC | MULTI | EXEC | DISCARD | MULTI | DISCARD | MULTI | GET | EXEC | MULTI | SET a 1 | GET a | INCR a | EXEC | WATCH a | UNWATCH
MULTI | MEMORY USAGE a | EXEC | MULTI | PING | EXEC | SET str x | MULTI | INCR str | EXEC
CONFIG SET nosuch 1 | CONFIG GET | CONFIG GET maxmemory | CONFIG SET requirepass x | CONFIG SET masterauth x requirepass x | CONFIG SET timeout x | ACL WHOAMI | ACL SETUSER x >pw
SELECT 99 | SELECT 0 | DISCARD | SLOWLOG LEN | SLOWLOG GET x | WAIT 0 x | BGSAVE x | SCAN x | SCAN 0 | KEYS * | DBSIZE | RANDOMKEY | FLUSHALL x | FLUSHALL | CLIENT KILL x | CLIENT GETNAME | RESET
""".strip().splitlines()


def slow_log(server, script):
    """What the slow log has of a script when every command is slow."""
    connection = server.raw()
    connection("CONFIG", "SET", "slowlog-log-slower-than", "0")
    connection("SLOWLOG", "RESET")
    for line in script.split(" | "):
        connection(*words(line))
    connection("CONFIG", "SET", "requirepass", "", "masterauth", "", "slowlog-log-slower-than", "10000")
    connection("ACL", "DELUSER", "x")
    entries = connection("SLOWLOG", "GET", "-1")[1]
    connection.close()
    entries = [b" ".join(word for _, word in entry[1][3][1]).decode() for entry in entries]
    # Whether what sets the limit is slow is judged by the old one here.
    return [entry for entry in reversed(entries) if not entry.endswith("10000") and entry not in ("SLOWLOG RESET", "ACL DELUSER x")]


@pytest.mark.parametrize("script", LOGGED, ids=lambda script: script.split(" | ")[0])
def test_the_slow_log_has_what_was_sent(shared_node, redis_server, script):
    assert slow_log(shared_node, script) == slow_log(redis_server, script)


def test_commands_are_counted_as_they_were_sent(shared_node, redis_server):
    for server in (shared_node, redis_server):
        connection = server.raw()
        connection("CONFIG", "RESETSTAT")
        for line in LOGGED[0].split(" | ") + LOGGED[3].split(" | "):
            connection(*words(line))
        info = connection("INFO", "commandstats", "latencystats", "errorstats")[1].decode()
        assert "quorate" not in info
        connection.close()


def test_status_and_info_agree(shared_node):
    connection = shared_node.raw()
    connection("SET", "k", "v")
    info = connection("INFO", "server", "persistence", "quorate")[1].decode().splitlines()
    info = dict(line.split(":", 1) for line in info if ":" in line)
    connection.close()
    status = shared_node.status()
    names = {"name": "node_name", "id": "node_id", "cluster": "cluster_name", "version": "quorate_version"}
    members = status.pop("members")
    assert len(members) == 1 and int(status["keys"]) >= 1
    assert {name: str(value) for name, value in status.items()} == {name: info[names.get(name, name)] for name in status}
