"""What `COMMAND` says of keys: for every command on data, in every form, the bytes of a redis-server."""

import pytest
from test_options import FORMS, POOLS

# Every subcommand that has a key, and what has none or is wrong.
OTHERS = """
MEMORY USAGE a | MEMORY USAGE a SAMPLES 0 | MEMORY STATS | MEMORY NOPE a | OBJECT HELP | OBJECT IDLETIME a | OBJECT NOPE a | DEBUG OBJECT a
SET a 1 get | SET a 1 EX 5 GET | SET a GET | MSET a 1 b 2 c 3 | MSET a 1 b | DEL a b c d | ZUNIONSTORE d 3 a b c WEIGHTS 1 2 3
ZINTERSTORE d 1 a | ZDIFF 2 a b | ZUNION 5 a | ZINTERSTORE d 0 a | SINTERCARD 0 a | ZMPOP 2 a b MIN | SUNIONSTORE d a b c | PING | FLUSHALL | DBSIZE
CONFIG GET a | CLUSTER KEYSLOT a | NOPE a | GET | GET a b | COMMAND COUNT
""".replace("\n", " | ").strip(" |").split(" | ")


def cases():
    for form in FORMS:
        words = [word for word in form.split(" [")[0].split() if not word.startswith("[")]
        yield " ".join(POOLS[word][0] if word in POOLS else word for word in words)
    yield from OTHERS


@pytest.mark.parametrize("line", dict.fromkeys(case for case in cases() if case.strip()))
def test_keys_and_flags_are_those_of_redis(shared_node, redis_server, line):
    mine, theirs = shared_node.raw(), redis_server.raw()
    for question in ("GETKEYS", "GETKEYSANDFLAGS"):
        words = ["COMMAND", question, *line.split(" ")]
        assert mine(*words) == theirs(*words), question
    mine.close()
    theirs.close()


def specifications(row):
    """The key specifications of a row of COMMAND INFO, without their notes."""
    found = []
    for specification in row[8][1]:
        fields = specification[1]
        found.append([pair for pair in zip(fields[::2], fields[1::2]) if pair[0] != (b"$", b"notes")])
    return row[3:6], found


def test_key_specifications_are_those_of_redis(shared_node, redis_server):
    mine, theirs = shared_node.raw(), redis_server.raw()
    names = [name[1] for name in mine("COMMAND", "LIST")[1]]
    compared = 0
    for ours, other in zip(mine("COMMAND", "INFO", *names)[1], theirs("COMMAND", "INFO", *names)[1]):
        if other[1] is None:
            continue
        ours, other = ours[1], other[1]
        assert specifications(ours) == specifications(other), ours[0]
        subcommands = {row[1][0][1]: row[1] for row in other[9][1]}
        for row in (row[1] for row in ours[9][1]):
            if row[0][1] in subcommands:
                assert specifications(row) == specifications(subcommands[row[0][1]]), row[0]
        compared += 1
    assert compared > 140
    mine.close()
    theirs.close()
