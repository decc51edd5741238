"""Every option and count of every command on data, in all the ways in which they can be given, to a real
redis-server and to Quorate: the replies must be the same bytes, and the keys must hold the same afterwards.

A form is a line of FORMS: a command with its arguments by kind, and its options in brackets. From each form
come cases: every number of arguments; every argument replaced by each value of its pool; every option alone, in
pairs and repeated, in any case, without its value and with each value of its pool; and random mixtures.
"""

import itertools
import os
import random
import time

import pytest
from nodes import Node, encode

MOST, LEAST = 2**63 - 1, -(2**63)
POOLS = {
    "int": ["1", "0", "-1", "2", "100", "x", "", "1.5", " 1", "01", "+1", "-0", "1e2", "0x10", "4294967296", str(MOST),
            str(LEAST), str(MOST + 1), str(LEAST - 1), str(MOST // 2), str(LEAST // 2), str(LEAST // 2 - 1), str(LEAST + 1),
            str(MOST // 1000), str(MOST // 1000 + 1), str(2**64 - 1), str(2**64), "-2147483649", "2147483648"],
    "cursor": ["0", "1", "-1", "x", "", "1.5", " 0", "00", "+0", "4294967296", str(2**63), str(2**64 - 1), str(2**64), str(LEAST)],
    "float": ["1.5", "0", "-1", "x", "", " 1", "1 ", "1e3", ".5", "3.", "0x10", "+2", "1e", "inf", "-inf", "Infinity", "nan",
              "1e308", "-1e308", "1e5000", "1e-5000", "1e22", "17179869184", "1,5", "1.5.5"],
    "offset": ["0", "2", "-1", "x", "", "536870912", str(MOST), str(LEAST), str(MOST + 1), "1.5"],
    "time": ["100", "0", "-1", "x", "", "1.5", " 1", "99999999999", "9999999999999", str(MOST), str(LEAST), str(MOST + 1), str(LEAST - 1),
             str(MOST // 1000), str(MOST // 1000 + 1), str(LEAST // 1000), str(LEAST // 1000 - 1), str(MOST // 1000 - 1)],
    "text": ["v", "", "10"],
    "field": ["f1", "nope", "", "whole", "decimal"],
    "member": ["a", "nope", "", "b"],
    "pattern": ["*", "", "s*", "[", "nope"],
    "type": ["string", "SET", "hash", "zset", "list", "", "nope"],
    "key": ["string", "none", "number", "hash", "set", "other", "lasting", ""],
    "string": ["string", "none", "hash", "set", "lasting", ""],
    "number": ["number", "none", "string", "hash", "float", "most", "lasting"],
    "hash": ["hash", "none", "string", "set"],
    "set": ["set", "none", "string", "hash"],
    "second": ["other", "none", "string", "set", "hash"],
    "word": ["FOO", ""],
}
POOLS |= {
    "sorted": ["sorted", "none", "string", "hash", "set"],
    "score": ["1.5", "0", "-1", "x", "", " 1", "1e3", "inf", "-inf", "nan", "(1", "0x10", "1e400", "3"],
    "bound": ["1", "(1", "-inf", "+inf", "inf", "x", "", "(x", "(", "nan", "3", "-1", "1e400", "0x2"],
    "lex": ["-", "[a", "(b", "+", "a", "", "[", "(", "[c"],
}
KEYS = ["sorted", "string", "number", "float", "most", "lasting", "hash", "set", "other", "none", ""]
SETUP = """
SET string hello | SET number 10 | SET float 1.5 | SET most 9223372036854775807 | SET lasting 5 EX 5000
HSET hash f1 v1 whole 7 decimal 2.5 | SADD set a b c | ZADD sorted 1 a 2 b 3 c | SADD other b c d | DEL none | DEL ''
""".replace("\n", " | ").strip(" |").split(" | ")

FORMS = """
GET string
SET string text [NX] [XX] [GET] [KEEPTTL] [PERSIST] [EX time] [PX time] [EXAT time] [PXAT time]
SETNX string text
SETEX string time text
PSETEX string time text
GETSET string text
GETDEL string
GETEX string [PERSIST] [EX time] [PX time] [EXAT time] [PXAT time] [NX] [KEEPTTL] [GET]
MGET key key
MSET string text second text
MSETNX string text second text
APPEND string text
STRLEN string
GETRANGE string int int
SUBSTR string int int
SETRANGE string offset text
INCR number
DECR number
INCRBY number int
DECRBY number int
INCRBYFLOAT number float
DEL key second
UNLINK key second
EXISTS key second
TOUCH key second
TYPE key
EXPIRE key time [NX] [XX] [GT] [LT]
PEXPIRE key time [NX] [XX] [GT] [LT]
EXPIREAT key time [NX] [XX] [GT] [LT]
PEXPIREAT key time [NX] [XX] [GT] [LT]
TTL key
PTTL key
EXPIRETIME key
PEXPIRETIME key
PERSIST key
RENAME key second
RENAMENX key second
COPY key second [REPLACE] [DB int]
OBJECT word key
OBJECT ENCODING key
OBJECT REFCOUNT key
OBJECT FREQ key
HSET hash field text field text
HMSET hash field text field text
HSETNX hash field text
HGET hash field
HMGET hash field field
HGETALL hash
HDEL hash field field
HEXISTS hash field
HKEYS hash
HVALS hash
HLEN hash
HSTRLEN hash field
HINCRBY hash whole int
HINCRBY hash field int
HINCRBYFLOAT hash decimal float
HINCRBYFLOAT hash field float
HRANDFIELD hash
HRANDFIELD hash int [WITHVALUES]
HSCAN hash cursor [MATCH pattern] [COUNT int] [NOVALUES] [TYPE type]
SADD set member member
SREM set member member
SMEMBERS set
SISMEMBER set member
SMISMEMBER set member member
SCARD set
SPOP set
SPOP set int
SRANDMEMBER set
SRANDMEMBER set int
SMOVE set second member
SUNION set second
SINTER set second
SDIFF set second
SUNIONSTORE none set second
SINTERSTORE none set second
SDIFFSTORE none set second
SUNIONSTORE second set
SINTERSTORE string set
SINTERCARD int set
SINTERCARD int set second [LIMIT int]
SSCAN set cursor [MATCH pattern] [COUNT int] [TYPE type]
SCAN cursor [MATCH pattern] [COUNT int] [TYPE type]
ZADD sorted score member [NX] [XX] [GT] [LT] [CH] [INCR]
ZADD sorted [NX] [XX] [GT] [LT] [CH] [INCR] [1 a] [score member]
ZINCRBY sorted score member
ZREM sorted member member
ZCARD sorted
ZSCORE sorted member
ZMSCORE sorted member member
ZCOUNT sorted bound bound
ZLEXCOUNT sorted lex lex
ZRANK sorted member
ZREVRANK sorted member
ZRANGE sorted int int [REV] [WITHSCORES] [LIMIT int int] [BYSCORE] [BYLEX]
ZRANGE sorted bound bound BYSCORE [REV] [WITHSCORES] [LIMIT int int] [BYLEX]
ZRANGE sorted lex lex BYLEX [REV] [WITHSCORES] [LIMIT int int]
ZRANGESTORE none sorted int int [REV] [WITHSCORES] [LIMIT int int] [BYSCORE] [BYLEX]
ZREVRANGE sorted int int [WITHSCORES] [LIMIT int int]
ZRANGEBYSCORE sorted bound bound [WITHSCORES] [LIMIT int int]
ZREVRANGEBYSCORE sorted bound bound [WITHSCORES] [LIMIT int int]
ZRANGEBYLEX sorted lex lex [WITHSCORES] [LIMIT int int]
ZREVRANGEBYLEX sorted lex lex [LIMIT int int]
ZREMRANGEBYRANK sorted int int
ZREMRANGEBYSCORE sorted bound bound
ZREMRANGEBYLEX sorted lex lex
ZPOPMIN sorted
ZPOPMIN sorted int
ZPOPMAX sorted int
ZMPOP int sorted MIN [COUNT int] [MAX]
ZRANDMEMBER sorted
ZRANDMEMBER sorted int [WITHSCORES]
ZSCAN sorted cursor [MATCH pattern] [COUNT int]
ZUNION int sorted set [WEIGHTS score score] [AGGREGATE SUM] [AGGREGATE word] [WITHSCORES]
ZINTER int sorted set [WEIGHTS score score] [AGGREGATE MIN] [WITHSCORES]
ZDIFF int sorted set [WITHSCORES] [WEIGHTS score score]
ZUNIONSTORE none int sorted set [WEIGHTS score score] [AGGREGATE MAX] [WITHSCORES]
ZINTERSTORE none int sorted set [WEIGHTS score score] [AGGREGATE SUM]
ZDIFFSTORE none int sorted set [WITHSCORES]
ZINTERCARD int sorted set [LIMIT int]
KEYS pattern
RANDOMKEY
DBSIZE
FLUSHALL
FLUSHALL word
FLUSHALL SYNC
FLUSHDB ASYNC
PING text
ECHO text
SELECT int
COMMAND GETKEYS word key
COMMAND GETKEYS SINTERCARD int set second
COMMAND INFO FOO
""".strip().splitlines()

UNORDERED = {"HGETALL", "HKEYS", "HVALS", "SMEMBERS", "SUNION", "SINTER", "SDIFF", "KEYS"}
RANDOM = {"SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "RANDOMKEY"}
# Replies that show the clock, with what they may differ by.
CLOCKS = {"TTL": 1, "EXPIRETIME": 1, "PTTL": 2_000, "PEXPIRETIME": 2_000}
# A redis-server would try to answer so many random elements.
REPEATED_MAX = 1_000
RANDOM_MIXTURES = int(os.environ.get("QUORATE_TEST_MIXTURES", "40"))


def parse(form):
    """The command, its arguments, and its options with theirs."""
    head, *options = form.replace("]", "").split("[")
    name, *arguments = head.split()
    return name, arguments, [option.split() for option in options]


def pool(kind):
    return POOLS.get(kind, [kind])


def filled(words):
    """Words with the first value of each kind's pool."""
    return [pool(word)[0] for word in words]


def cases(form, generator):
    name, arguments, options = parse(form)
    full = [name, *filled(arguments)]
    yield from (full[:length] for length in range(1, len(full) + 1))
    yield full + ["FOO"]
    yield full + ["FOO", "1"]
    yield full + [""]
    yield [name.lower(), *full[1:]]
    for at, kind in enumerate(arguments, 1):
        yield from (full[:at] + [value] + full[at + 1:] for value in pool(kind))
    for one, other in itertools.combinations(range(len(arguments)), 2):
        for _ in range(12):
            case = list(full)
            case[1 + one], case[1 + other] = (generator.choice(pool(arguments[at])) for at in (one, other))
            yield case
    for word, *values in options:
        given = [word, *filled(values)]
        yield full + [word]
        yield full + [word.lower(), *given[1:]]
        yield full + given + ["FOO"]
        yield full + ["FOO"] + given
        for at, kind in enumerate(values, 1):
            yield from (full + given[:at] + [value] + given[at + 1:] for value in pool(kind))
            yield from (full + given + given[:at] + [value] for value in pool(kind))
            yield from (full + given[:at] + [value] + given for value in pool(kind))
        for target in pool(arguments[0]) if arguments else []:
            yield [name, target, *full[2:], *given]
    for pair in itertools.product(options, repeat=2):
        yield full + [part for word, *values in pair for part in (word, *filled(values))]
    for _ in range(RANDOM_MIXTURES if options else 0):
        chosen = [generator.choice(options) for _ in range(generator.randrange(1, 4))]
        words = [part for word, *values in chosen
                 for part in (word, *(generator.choice(pool(value)) for value in values))]
        if generator.random() < 0.2:
            words.insert(generator.randrange(len(words) + 1), "FOO")
        positional = [generator.choice(pool(kind)) if generator.random() < 0.4 else pool(kind)[0] for kind in arguments]
        yield [name, *positional, *words]


def is_integer(word):
    try:
        return int(word)
    except ValueError:
        return None


def too_much(command):
    """Whether a redis-server would answer without end."""
    name = command[0].upper()
    if name not in ("SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER") or len(command) < 3:
        return False
    count = is_integer(command[2])
    return count is not None and LEAST < count < -REPEATED_MAX


class Side:
    """A server with the keys of the test, in one slot or spread over slots."""

    def __init__(self, server, prefix, resp3):
        self.connection = server.raw()
        self.prefix = prefix
        if resp3:
            self.connection("HELLO", "3")
        self.connection("FLUSHALL")

    def words(self, command):
        return [self.prefix + word if at and word in KEYS and word else word for at, word in enumerate(command)]

    def pipeline(self, commands):
        self.connection.send(b"".join(encode(*self.words(command)) for command in commands))
        return [self.connection.read() for _ in commands]

    def reset(self):
        self.pipeline([["DEL", key] for key in KEYS])
        self.pipeline([line.replace("''", "").split(" ") for line in SETUP])

    def run(self, command):
        return self.connection(*self.words(command))

    def state(self):
        """What every key holds: kind, value, milliseconds to live."""
        kinds = self.pipeline([["TYPE", key] for key in KEYS])
        read = {b"string": "GET", b"hash": "HGETALL", b"set": "SMEMBERS", b"zset": "ZRANGE", b"none": "EXISTS"}
        values = self.pipeline([[read[kind[1]], key] + (["0", "-1", "WITHSCORES"] if kind[1] == b"zset" else [])
                                for key, kind in zip(KEYS, kinds)])
        lives = self.pipeline([["PTTL", key] for key in KEYS])
        return {key: (kind[1], sorted(map(str, value[1])) if isinstance(value[1], list) else value, int(life[1]))
                for key, kind, value, life in zip(KEYS, kinds, values, lives)}


def same_state(ours, theirs, command):
    for key in KEYS:
        (kind, value, life), (other_kind, other_value, other_life) = ours[key], theirs[key]
        if command[0].upper() == "SPOP" and isinstance(value, list):
            value, other_value = len(value), len(other_value)
        if kind != other_kind or value != other_value:
            return False
        if life != other_life and (min(life, other_life) < 0 or abs(life - other_life) > 2_000):
            return False
    return True


def normal(command, reply):
    """Sorts what has no order, and hides what is random."""
    name = command[0].upper()
    kind, value = reply
    if name in ("SCAN", "HSCAN", "SSCAN", "ZSCAN") and isinstance(value, list):
        # What a foreign cursor stands for is up to the server, and how much a call gives.
        return kind, [each[0] for each in value]
    if name == "HGETALL" and isinstance(value, list):
        return kind, sorted(map(str, zip(value[::2], value[1::2])))
    if name in UNORDERED and isinstance(value, list):
        return kind, sorted(map(str, value))
    if name in RANDOM:
        return shape(reply)
    return reply


def shape(reply):
    kind, value = reply
    if isinstance(value, list):
        return kind, [shape(each) for each in value]
    return (kind, value is None) if kind in (b"$", b",") else reply


def same_reply(command, ours, theirs):
    ours, theirs = normal(command, ours), normal(command, theirs)
    slack = CLOCKS.get(command[0].upper())
    if slack and ours[0] == theirs[0] == b":":
        mine, other = int(ours[1]), int(theirs[1])
        return mine == other or min(mine, other) > 0 and abs(mine - other) <= slack
    return ours == theirs


def intended(command):
    """Whether replies differ on purpose, as compatibility.md says."""
    name, *rest = [word.upper() for word in command]
    # Sums of decimals are exact where Redis rounds to 64 bits.
    exact = name == "INCRBYFLOAT" and rest[:1] == ["MOST"]
    # Without a command of its own, every command is described.
    described = name == "COMMAND" and rest in ([], ["INFO"])
    # The number of keys is read as strictly as by the command itself.
    strict = name == "COMMAND" and rest[:2] == ["GETKEYS", "SINTERCARD"] and rest[2:3] not in (["1"], ["2"])
    # Of a later version.
    later = name in ("ZRANK", "ZREVRANK") and len(rest) > 2
    return exact or described or strict or later


def differences(server, redis_server, form, prefix, resp3):
    generator = random.Random(form)
    ours, theirs = Side(server, prefix, resp3), Side(redis_server, prefix, resp3)
    found, fresh, clean = [], False, None
    for command in cases(form, generator):
        if too_much(command):
            continue
        if not fresh:
            ours.reset()
            theirs.reset()
            clean = theirs.state()
        mine, expected = ours.run(command), theirs.run(command)
        if not same_reply(command, mine, expected) and not intended(command):
            found.append((command, mine, expected))
        my_state, their_state = ours.state(), theirs.state()
        if not same_state(my_state, their_state, command) and not intended(command):
            differing = {key: (my_state[key], their_state[key]) for key in KEYS if my_state[key] != their_state[key]}
            found.append((command, "keys", differing))
        fresh = same_state(my_state, clean, ["GET"]) and same_state(their_state, clean, ["GET"])
    ours.connection.close()
    theirs.connection.close()
    return found


def check(server, redis_server, form, prefix, resp3=False):
    found = differences(server, redis_server, form, prefix, resp3)
    shown = "\n".join(f"{command}\n   quorate {mine}\n   redis   {expected}" for command, mine, expected in found)
    assert not found, f"{len(found)} differ:\n{shown}"


@pytest.mark.parametrize("form", FORMS)
def test_options_are_those_of_redis(shared_node, redis_server, form):
    check(shared_node, redis_server, form, "")


@pytest.fixture(scope="module")
def lone_shard(tmp_path_factory):
    server = Node(tmp_path_factory.mktemp("lone"), arguments=["--shards", "1"]).start()
    yield server
    server.kill()


@pytest.mark.parametrize("form", [form for form in FORMS if len(parse(form)[1]) > 1])
def test_options_are_those_of_redis_within_a_slot(lone_shard, redis_server, form):
    check(lone_shard, redis_server, form, "{t}")


@pytest.mark.parametrize("form", [form for form in FORMS if "[" in form])
def test_options_are_those_of_redis_in_resp3(lone_shard, redis_server, form):
    check(lone_shard, redis_server, form, "", resp3=True)


@pytest.mark.parametrize("command, add", [("SRANDMEMBER", ["SADD", "one", "x"]), ("HRANDFIELD", ["HSET", "one", "x", "1"])])
def test_repeated_random_elements_are_given_as_long_as_a_reply_may_be(lone_shard, command, add):
    connection = lone_shard.raw()
    connection("DEL", "one")
    connection(*add)
    count = 20_000_000
    connection.send(encode(command, "one", -count))
    assert connection.file.readline() == b"*%d\r\n" % count
    left = count * len(b"$1\r\nx\r\n")
    while left:
        left -= len(connection.file.read(min(left, 1 << 20)))
    assert connection("PING") == (b"+", b"PONG")
    for count in (-2**40, -MOST):
        kind, text = connection(command, "one", count)
        assert kind == b"-" and b"longer than 536870912 bytes" in text, text
    # So many could fit if they were shorter.
    connection("DEL", "one")
    connection(*["x" * 1_000_000 if word == "x" else word for word in add])
    kind, text = connection(command, "one", -1_000)
    assert kind == b"-" and b"longer than 536870912 bytes" in text, text
    assert connection("PING") == (b"+", b"PONG")
    connection.close()


def test_no_key_lives_longer_than_its_moment(shared_node):
    connection = shared_node.raw()
    for _ in range(300):
        now_ms = time.time_ns() // 1_000_000
        assert connection("SET", "k", "v", "PXAT", now_ms + 10_000) == (b"+", b"OK")
        assert int(connection("PTTL", "k")[1]) <= 10_000
        assert connection("SET", "k", "v", "PX", 10_000) == (b"+", b"OK")
        assert int(connection("PTTL", "k")[1]) <= 10_000
    connection.close()


def test_the_time_has_microseconds(shared_node):
    connection = shared_node.raw()
    parts = [[int(part[1]) for part in connection("TIME")[1]] for _ in range(50)]
    assert all(0 <= micros < 1_000_000 for _, micros in parts)
    assert any(micros % 1_000 for _, micros in parts)
    assert abs(parts[-1][0] - time.time()) < 5
    connection.close()
