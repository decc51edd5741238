"""Sorted sets beside a real redis-server: the replies must be the same bytes.

Scores are sums of powers of two here, which all versions of Redis write alike.
"""

import os
import random

import pytest

from test_conformance import run, words

SCRIPTS = """
ZADD z 1 a | ZADD z 2 a 3 b | ZADD z 2 a | ZADD z NX 9 a 9 c | ZADD z XX 5 a 5 d | ZADD z CH 6 a 6 e | ZADD z XX CH 7 a 7 x | ZADD z GT 1 a 9 f | ZADD z GT CH 8 a | ZADD z LT CH 1 a 2 g | ZADD z LT 5 a | ZADD z GT XX 4 a 4 h | ZRANGE z 0 -1 WITHSCORES | ZCARD z
ZADD z INCR 5 a | ZADD z INCR 2.5 a | ZADD z NX INCR 1 a | ZADD z XX INCR 1 b | ZADD z GT INCR -1 a | ZADD z GT INCR 1 a | ZADD z LT INCR 1 a | ZADD z LT INCR -1 a | ZADD z INCR 1 a 2 b | ZADD z CH INCR 1 a | ZADD z INCR inf a | ZADD z INCR -inf a | ZSCORE z a
ZADD z | ZADD z 1 | ZADD z a 1 | ZADD z 1 a 2 | ZADD z NX | ZADD z NX XX 1 a | ZADD z GT LT 1 a | ZADD z GT NX 1 a | ZADD z LT NX 1 a | ZADD z x a | ZADD z 1 a y b | ZADD z nan a | ZADD z '' a | ZADD z ' 1' a | ZADD z 1e400 a | ZADD z 0x10 a | ZADD z FOO 1 a | EXISTS z | ZSCORE z a
ZADD z inf a -inf b +inf c Infinity d 1e3 e 1E-1 f -0 g 0 h | ZRANGE z 0 1 | ZSCORE z a | ZSCORE z b | ZSCORE z e | ZSCORE z g | ZRANGEBYSCORE z -inf +inf | ZRANGEBYSCORE z (-inf (+inf | ZCOUNT z 0 0
ZADD z 1 a 1 a 2 a | ZSCORE z a | ZADD z NX 5 n 6 n | ZSCORE z n | ZADD z GT CH 3 a 2 a 9 a | ZSCORE z a | ZADD z LT CH 8 a 8 a 7 a | ZSCORE z a
ZINCRBY z 1 a | ZINCRBY z 2.25 a | ZINCRBY z -5 a | ZINCRBY z x a | ZINCRBY z inf a | ZINCRBY z -inf a | ZINCRBY z 1 | ZINCRBY z nan a | ZADD z 3 a | ZINCRBY z 1 a | ZREM z a | ZINCRBY z 4 a | ZSCORE z a | ZINCRBY z 0 a
ZADD z 1 a 2 b 3 c | ZREM z a x | ZREM z a | ZREM z b c | EXISTS z | ZREM nope a | ZREM z | ZSCORE z a | ZSCORE nope a | ZMSCORE z a b | ZADD z 1 a | ZMSCORE z a b a | ZMSCORE nope a | ZMSCORE z | ZCARD nope | ZCARD
ZADD z 1 a 2 b 2 c 3 d | ZRANK z a | ZRANK z c | ZREVRANK z a | ZREVRANK z d | ZRANK z x | ZRANK nope a | ZREVRANK nope a | ZRANK z
ZADD z 1 a 2 b 3 c 4 d 5 e | ZRANGE z 0 -1 | ZRANGE z 1 3 | ZRANGE z -2 -1 | ZRANGE z 3 1 | ZRANGE z -100 100 | ZRANGE z 5 10 | ZRANGE z 0 1 REV | ZRANGE z 0 -1 REV WITHSCORES | ZRANGE z -2 -1 REV | ZRANGE z 0 0 WITHSCORES | ZRANGE nope 0 -1 | ZRANGE z x 1 | ZRANGE z 0 x | ZRANGE z 0 1 FOO | ZRANGE z 0 1 LIMIT 0 1 | ZRANGE z 0 1 BYSCORE BYLEX | ZRANGE z 0 1 WITHSCORES WITHSCORES | ZRANGE z 0 | ZRANGE z 9223372036854775807 -1 | ZRANGE z -9223372036854775808 9223372036854775807
ZADD z 1 a 2 b 3 c 4 d 5 e | ZRANGE z 2 4 BYSCORE | ZRANGE z (2 (4 BYSCORE WITHSCORES | ZRANGE z 4 2 BYSCORE REV | ZRANGE z 2 4 BYSCORE REV | ZRANGE z -inf +inf BYSCORE LIMIT 1 2 | ZRANGE z +inf -inf BYSCORE REV LIMIT 1 2 | ZRANGE z -inf inf BYSCORE LIMIT 0 -1 | ZRANGE z -inf inf BYSCORE LIMIT -1 2 | ZRANGE z -inf inf BYSCORE LIMIT 9 2 | ZRANGE z -inf inf BYSCORE LIMIT 2 0 | ZRANGE z x 1 BYSCORE | ZRANGE z 1 nan BYSCORE | ZRANGE z ( 1 BYSCORE | ZRANGE z 1 2 BYSCORE LIMIT 1 | ZRANGE z 1 2 BYSCORE LIMIT x 1 | ZRANGE z 1e400 1 BYSCORE
ZADD z 0 a 0 b 0 c 0 d 0 dd | ZRANGE z - + BYLEX | ZRANGE z [b (dd BYLEX | ZRANGE z (b + BYLEX LIMIT 1 1 | ZRANGE z + - BYLEX REV | ZRANGE z [c [a BYLEX REV | ZRANGE z + - BYLEX | ZRANGE z b c BYLEX | ZRANGE z [b c BYLEX | ZRANGE z - + BYLEX WITHSCORES | ZRANGE z [ ( BYLEX | ZRANGE z - [ BYLEX | ZLEXCOUNT z - + | ZLEXCOUNT z [b [d | ZLEXCOUNT z (b (d | ZLEXCOUNT z b d | ZLEXCOUNT nope - + | ZRANGEBYLEX z [b + | ZREVRANGEBYLEX z + [c | ZREVRANGEBYLEX z [d (a LIMIT 0 2 | ZRANGEBYLEX z - + WITHSCORES | ZRANGEBYLEX z - + LIMIT 1 2 | ZRANGEBYLEX nope - + | ZRANGEBYLEX z x y | ZRANGEBYLEX z - + REV | ZLEXCOUNT z -
ZADD z 1 a 2 b 3 c | ZRANGEBYSCORE z 1 2 | ZRANGEBYSCORE z (1 3 WITHSCORES | ZRANGEBYSCORE z -inf +inf WITHSCORES LIMIT 1 1 | ZRANGEBYSCORE z 1 3 LIMIT 0 1 LIMIT 1 1 | ZREVRANGEBYSCORE z 3 1 | ZREVRANGEBYSCORE z (3 1 WITHSCORES LIMIT 0 1 | ZREVRANGE z 0 1 | ZREVRANGE z 0 -1 WITHSCORES | ZREVRANGE z 0 1 LIMIT 0 1 | ZREVRANGE z 0 1 REV | ZRANGEBYSCORE z 1 2 BYLEX | ZRANGEBYSCORE nope 1 2 | ZRANGEBYSCORE z x y | ZCOUNT z 1 2 | ZCOUNT z (1 (3 | ZCOUNT z 3 1 | ZCOUNT nope 0 1 | ZCOUNT z x 1 | ZCOUNT z -inf
ZADD z 1 a 2 b 3 c 4 d 5 e 6 f | ZREMRANGEBYRANK z 0 0 | ZREMRANGEBYRANK z -1 -1 | ZREMRANGEBYRANK z 5 9 | ZREMRANGEBYSCORE z (2 3 | ZREMRANGEBYSCORE z x 3 | ZRANGE z 0 -1 | ZREMRANGEBYSCORE z -inf inf | EXISTS z | ZREMRANGEBYRANK nope 0 1 | ZADD z 0 a 0 b 0 c | ZREMRANGEBYLEX z [b (c | ZREMRANGEBYLEX z b c | ZREMRANGEBYLEX z - + | EXISTS z | ZREMRANGEBYRANK z x 1 | ZREMRANGEBYRANK z 1
ZADD z 1 a 2 b 3 c 4 d | ZPOPMIN z | ZPOPMAX z | ZPOPMIN z 0 | ZPOPMIN z -1 | ZPOPMIN z x | ZPOPMIN z 1 2 | ZPOPMAX z 5 | ZPOPMIN z | EXISTS z | ZPOPMIN nope | ZPOPMIN nope 2 | ZPOPMAX nope | ZPOPMIN
ZADD {t}y 1 a 2 b 3 c | ZMPOP 2 {t}x {t}y MIN | ZMPOP 2 {t}x {t}y MAX COUNT 5 | ZMPOP 2 {t}x {t}y MIN | ZMPOP 0 {t}x MIN | ZMPOP x {t}x MIN | ZMPOP 1 {t}x | ZMPOP 2 {t}x MIN | ZMPOP 1 {t}x FOO | ZMPOP 1 {t}x MIN COUNT 0 | ZMPOP 1 {t}x MIN COUNT x | ZMPOP 1 {t}x MIN COUNT | ZMPOP 1 {t}x MIN COUNT 1 FOO | ZMPOP 1 {t}x min count 1
ZADD y 1 a 2 b 3 c | ZMPOP 3 x y w MIN | ZMPOP 2 x y MAX COUNT 5 | ZMPOP 2 x y MIN | SET s v | ZMPOP 2 x s MIN | ZADD y 1 a | ZMPOP 2 y s MAX
ZADD z 1 a | ZRANDMEMBER z | ZRANDMEMBER z 1 | ZRANDMEMBER z 5 WITHSCORES | ZRANDMEMBER z -2 | ZRANDMEMBER z -2 WITHSCORES | ZRANDMEMBER z 0 | ZRANDMEMBER nope | ZRANDMEMBER nope 1 | ZRANDMEMBER z x | ZRANDMEMBER z 1 FOO | ZRANDMEMBER z 1 WITHSCORES FOO | ZRANDMEMBER z -9223372036854775808 | ZRANDMEMBER z -9223372036854775807 WITHSCORES
ZADD z 1.5 a | ZSCAN z 0 | ZSCAN nope 0 | ZSCAN z x | ZSCAN z 0 MATCH b* | ZSCAN z 0 COUNT 0 | ZSCAN z 0 COUNT 5 MATCH a | ZSCAN z 0 FOO 1 | ZSCAN z
ZADD a 1 x 2 y 3 z | ZADD b 10 y 20 z 30 w | ZUNION 2 a b | ZUNION 2 a b WITHSCORES | ZUNION 2 a b WEIGHTS 2 0.5 WITHSCORES | ZUNION 2 a b AGGREGATE MIN WITHSCORES | ZUNION 2 a b AGGREGATE max WITHSCORES WEIGHTS 1 -1 | ZINTER 2 a b WITHSCORES | ZINTER 2 a nope | ZINTER 2 a b AGGREGATE MAX | ZDIFF 2 a b WITHSCORES | ZDIFF 2 b a | ZDIFF 1 a | ZDIFF 2 nope a | ZINTERCARD 2 a b | ZINTERCARD 2 a b LIMIT 1 | ZINTERCARD 2 a b LIMIT 0 | ZINTERCARD 2 a b LIMIT -1 | ZINTERCARD 2 a b LIMIT x | ZINTERCARD 2 a b LIMIT
ZADD a 1 x 2 y 3 z | ZADD b 10 y 20 z 30 w | ZUNIONSTORE d 2 a b | ZRANGE d 0 -1 WITHSCORES | ZINTERSTORE d 2 a b WEIGHTS 1 2 AGGREGATE SUM | ZRANGE d 0 -1 WITHSCORES | ZDIFFSTORE d 2 a b | ZRANGE d 0 -1 WITHSCORES | ZINTERSTORE d 2 a nope | EXISTS d | SET d v | ZUNIONSTORE d 1 a | TYPE d | ZUNIONSTORE a 2 a a | ZRANGE a 0 -1 WITHSCORES | EXPIRE a 100 | ZUNIONSTORE a 1 b | TTL a
SADD s x y | ZADD z 5 x | ZUNION 2 s z WITHSCORES | ZINTER 2 s z WITHSCORES WEIGHTS 3 1 | ZDIFF 2 s z WITHSCORES | ZUNIONSTORE d 1 s | TYPE d | ZUNIONSTORE d 2 s z WEIGHTS inf 1 | ZRANGE d 0 -1 WITHSCORES | ZADD i inf x | ZADD j -inf x | ZUNION 2 i j WITHSCORES | ZUNION 1 i WEIGHTS 0 WITHSCORES | ZINTERCARD 2 s z
ZUNION 0 a | ZUNION x a | ZUNION -1 a | ZUNION 2 a | ZUNION 1 a FOO | ZUNION 1 a WEIGHTS | ZUNION 1 a WEIGHTS x | ZUNION 1 a WEIGHTS 1 2 | ZUNION 1 a AGGREGATE | ZUNION 1 a AGGREGATE FOO | ZDIFF 1 a WEIGHTS 1 | ZDIFF 1 a AGGREGATE SUM | ZUNIONSTORE d 1 a WITHSCORES | ZUNIONSTORE d 0 a | ZUNIONSTORE d x a | ZUNIONSTORE d 2 a | ZINTERCARD 0 a | ZINTERCARD 1 a WITHSCORES | ZDIFFSTORE d 1 | ZUNION 1 | SET s v | ZUNION 1 s | ZUNION 2 a s FOO | ZUNIONSTORE s 1 a | EXISTS s
ZADD z 1 a 2 b 3 c 4 d | ZRANGESTORE y z 0 1 | ZRANGE y 0 -1 WITHSCORES | ZRANGESTORE y z 2 3 BYSCORE | ZRANGE y 0 -1 | ZRANGESTORE y z +inf 2 BYSCORE REV LIMIT 1 1 | ZRANGE y 0 -1 WITHSCORES | ZRANGESTORE y z [b (d BYLEX | ZRANGE y 0 -1 | ZRANGESTORE y z 9 10 | EXISTS y | ZRANGESTORE y nope 0 1 | ZRANGESTORE z z 0 1 | ZRANGE z 0 -1 | ZRANGESTORE y z 0 1 WITHSCORES | ZRANGESTORE y z x 1 | ZRANGESTORE y z 0 1 LIMIT 0 1 | SET s v | ZRANGESTORE s z 0 0 | TYPE s | SET s v | ZRANGESTORE y s 0 1
ZADD i inf x | ZADD o 5 x 6 y | ZINTER 2 i o WEIGHTS 0 1 WITHSCORES | ZINTER 2 o i WEIGHTS 1 0 WITHSCORES | ZADD i 1 p 2 q 3 r | ZINTER 2 i o WEIGHTS 0 1 WITHSCORES | ZINTER 2 i o WEIGHTS 0 1 AGGREGATE MIN WITHSCORES | ZINTER 2 i o WEIGHTS 0 1 AGGREGATE MAX WITHSCORES | ZUNION 2 i o WEIGHTS 0 1 AGGREGATE MIN WITHSCORES | ZUNION 2 i o WEIGHTS 0 -1 WITHSCORES | ZINTERSTORE d 2 i o WEIGHTS 0 1 AGGREGATE MAX | ZRANGE d 0 -1 WITHSCORES | ZADD m -inf x | ZINTER 3 o i m WEIGHTS 1 0 1 WITHSCORES | ZUNIONSTORE d 1 o WEIGHTS -0 | ZRANGE d 0 -1 WITHSCORES
ZADD z inf a | ZADD z NX INCR -inf a | ZADD z XX INCR -inf a | ZADD z GT INCR -inf a | ZADD z XX INCR -inf b | ZADD z NX INCR -inf b | ZADD z NX INCR nan a | ZADD z -0 c | ZSCORE z c | ZADD z 0 c | ZADD z CH -0 c | ZRANGE z 0 -1 WITHSCORES
ZINCRBY z -0 a | ZSCORE z a | ZINCRBY z -0 a | ZADD z INCR -0 b | ZADD z NX INCR -0 b | ZADD z GT INCR -0 b | ZADD z LT INCR -0e5 c | ZADD z -0.0 d 0 e -0 e | ZMSCORE z a b c d e | ZINCRBY z -5 f | ZINCRBY z 5 f | ZRANGE z 0 -1 WITHSCORES | ZRANGEBYSCORE z -0 -0 WITHSCORES | ZCOUNT z (-0 0 | ZSCAN z 0 | ZRANK z b | ZUNION 1 z WEIGHTS -1 WITHSCORES | ZUNION 1 z WEIGHTS -0 WITHSCORES | ZADD y 5 a -5 b 0 c | ZUNION 2 z y WEIGHTS -1 -0 WITHSCORES | ZINTER 2 y z WEIGHTS -0 -1 AGGREGATE MIN WITHSCORES | ZINTER 2 z y WEIGHTS -1 0 AGGREGATE MAX WITHSCORES | ZDIFF 1 z WITHSCORES | ZUNIONSTORE x 2 z y WEIGHTS -1 -0 | ZRANGE x 0 -1 WITHSCORES | ZRANGESTORE x z 0 -1 | ZRANGE x 0 -1 WITHSCORES | ZMPOP 1 x MIN | ZPOPMAX x
ZADD z 1 a 2 b | TYPE z | SCAN 0 TYPE zset COUNT 1000 | SCAN 0 TYPE set COUNT 1000 | OBJECT ENCODING z | ZADD z 3 {LONG} | OBJECT ENCODING z | EXPIRE z 100 | TTL z | ZADD z 4 d | TTL z | COPY z y | ZRANGE y 0 -1 WITHSCORES | TTL y | RENAME z x | ZRANGE x 0 -1 | EXISTS z | DEL x y | ZCARD x
SET s v | ZADD s 1 a | ZINCRBY s 1 a | ZREM s a | ZCARD s | ZSCORE s a | ZMSCORE s a | ZCOUNT s 0 1 | ZLEXCOUNT s - + | ZRANK s a | ZREVRANK s a | ZRANGE s 0 1 | ZRANGEBYSCORE s 0 1 | ZREVRANGEBYLEX s + - | ZREMRANGEBYRANK s 0 1 | ZPOPMIN s | ZMPOP 1 s MIN | ZRANDMEMBER s | ZSCAN s 0 | ZDIFFSTORE d 1 s | ZADD s NX x a | GET s
ZADD z 1 a | GET z | INCR z | HGET z a | HSET z a 1 | SADD z a | SCARD z | SUNION z | SMOVE z y a | SET z v | TYPE z | ZADD z 1 a
COMMAND GETKEYS ZADD z 1 a | COMMAND GETKEYS ZUNIONSTORE d 2 a b WEIGHTS 1 2 | COMMAND GETKEYS ZINTER 2 a b | COMMAND GETKEYS ZMPOP 1 a MIN | COMMAND GETKEYS ZRANGESTORE d s 0 1
""".strip().splitlines()

IDS = [f"{number}-{line.split(' | ')[0]}" for number, line in enumerate(SCRIPTS)]


@pytest.mark.parametrize("resp3", [False, True], ids=["resp2", "resp3"])
@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_replies_are_those_of_redis(shared_node, redis_server, script, resp3):
    run(shared_node, redis_server, [line.strip() for line in script.split(" | ")], resp3)


@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_a_cluster_replies_like_one_node(shared_cluster, redis_server, script):
    run(shared_cluster[1], redis_server, [line.strip() for line in script.split(" | ")], False)


KEYS = ["a", "b", "c", "{t}d", "{t}e"]
MEMBERS = ["m", "n", "o", "p", "pp", "q", "r", ""]
SCORES = ["0", "1", "1.5", "-2", "3", "2.25", "-inf", "inf", "7", "100", "1e3", "0.125"]
FINITE = [score for score in SCORES if "inf" not in score]
BOUNDS = SCORES + ["(1", "(3", "(-inf", "(inf"]
LEX = ["-", "+", "[m", "(m", "[o", "(p", "[pp", "(q"]
RANDOM = [
    "ZADD K S M", "ZADD K S M S M S M", "ZADD K NX S M S M", "ZADD K XX CH S M S M", "ZADD K GT CH S M S M", "ZADD K LT S M", "ZADD K INCR F M",
    "ZADD K CH S M S M S M S M", "ZINCRBY K F M", "ZINCRBY K F M", "ZREM K M", "ZREM K M M M", "ZCARD K", "ZSCORE K M", "ZMSCORE K M M M", "ZCOUNT K B B",
    "ZRANK K M", "ZREVRANK K M", "ZRANGE K I I", "ZRANGE K I I REV WITHSCORES", "ZRANGE K B B BYSCORE WITHSCORES", "ZRANGE K B B BYSCORE REV LIMIT I I",
    "ZRANGEBYSCORE K B B WITHSCORES LIMIT I I", "ZREVRANGEBYSCORE K B B", "ZREVRANGE K I I", "ZREMRANGEBYRANK K I I", "ZREMRANGEBYSCORE K B B",
    "ZPOPMIN K", "ZPOPMAX K 2", "ZMPOP 2 K K MIN COUNT 2", "ZUNION 2 K K WITHSCORES", "ZUNION 2 K K WEIGHTS F F AGGREGATE MAX WITHSCORES",
    "ZINTER 2 K K WITHSCORES", "ZDIFF 2 K K WITHSCORES", "ZINTERCARD 2 K K", "ZUNIONSTORE K 2 K K", "ZINTERSTORE K 2 K K AGGREGATE MIN",
    "ZDIFFSTORE K 2 K K", "ZRANGESTORE K K I I", "ZRANGESTORE K K B B BYSCORE", "SADD K M M", "DEL K", "RENAME K K", "COPY K K REPLACE",
    "EXPIRE K 100", "TTL K", "TYPE K", "EXISTS K", "SET K x", "ZSCAN K 0 COUNT 1000",
]
CHOICES = {"K": KEYS, "M": MEMBERS, "S": SCORES, "F": FINITE, "B": BOUNDS, "L": LEX, "I": ["-3", "-1", "0", "1", "2", "5"]}


def seeds():
    return range(int(os.environ.get("QUORATE_TEST_SEEDS", "20")))


def settled(command, reply):
    """ZSCAN gives members in any order."""
    kind, value = reply
    if command[0] == "ZSCAN" and kind == b"*":
        flat = [element[1] for element in value[1][1]]
        return sorted(zip(flat[::2], flat[1::2]))
    return reply


def run_random(seed, ours, theirs):
    generator = random.Random(seed)
    for connection in (ours, theirs):
        connection("FLUSHALL")
        connection("HELLO", str(2 + seed % 2))
    for number in range(400):
        line = generator.choice(RANDOM).split()
        command = [generator.choice(CHOICES[word]) if word in CHOICES else word for word in line]
        mine, expected = ours(*command), theirs(*command)
        assert settled(command, mine) == settled(command, expected), f"seed {seed}, step {number}: {command}"
    ours.close()
    theirs.close()


@pytest.mark.parametrize("seed", seeds())
def test_random_programs_give_the_replies_of_redis(shared_node, redis_server, seed):
    run_random(seed, shared_node.raw(), redis_server.raw())


@pytest.mark.parametrize("seed", seeds())
def test_random_programs_give_the_replies_of_redis_on_a_cluster(shared_cluster, redis_server, seed):
    run_random(seed, shared_cluster[seed % 3].raw(), redis_server.raw())


@pytest.mark.parametrize("seed", seeds())
def test_random_ranges_of_members_are_those_of_redis(shared_node, redis_server, seed):
    generator = random.Random(seed)
    ours, theirs = shared_node.raw(), redis_server.raw()
    for connection in (ours, theirs):
        connection("FLUSHALL")
    lines = ["ZADD K 0 M 0 M", "ZREM K M", "ZRANGEBYLEX K L L", "ZREVRANGEBYLEX K L L LIMIT I I", "ZLEXCOUNT K L L", "ZREMRANGEBYLEX K L L",
             "ZRANGE K L L BYLEX LIMIT I I", "ZRANGE K L L BYLEX REV", "ZRANGESTORE K K L L BYLEX"]
    for number in range(300):
        line = generator.choice(lines + lines[:1] * 4).split()
        command = [generator.choice(CHOICES[word]) if word in CHOICES else word for word in line]
        mine, expected = ours(*command), theirs(*command)
        assert mine == expected, f"seed {seed}, step {number}: {command}"
    ours.close()
    theirs.close()


@pytest.mark.parametrize("seed", seeds())
def test_ranges_of_members_of_different_scores_are_those_of_the_compact_encoding(shared_node, redis_server, seed):
    generator = random.Random(seed)
    ours, theirs = shared_node.raw(), redis_server.raw()
    bounds = ["-", "+", "[m1", "(m1", "[m2", "(m3", "[m3", "(m5", "[a", "[z"]
    lines = ["ZRANGEBYLEX z L L", "ZREVRANGEBYLEX z L L", "ZREVRANGEBYLEX z L L LIMIT 1 2", "ZLEXCOUNT z L L", "ZRANGE z L L BYLEX REV",
             "ZRANGE z L L BYLEX LIMIT 1 2", "ZRANGESTORE y z L L BYLEX", "ZRANGESTORE y z L L BYLEX REV", "ZREMRANGEBYLEX z L L"]
    for number in range(150):
        members = [word for member in range(generator.randint(1, 6)) for word in (generator.randint(1, 4), f"m{member}")]
        line = generator.choice(lines).split()
        command = [generator.choice(bounds) if word == "L" else word for word in line]
        for program in (("DEL", "z", "y"), ("ZADD", "z", *members), command, ("ZRANGE", "y", "0", "-1"), ("ZRANGE", "z", "0", "-1")):
            assert ours(*program) == theirs(*program), f"seed {seed}, step {number}: {members}, {command}"
    ours.close()
    theirs.close()


def test_sums_are_rounded_as_in_redis(shared_node, redis_server):
    """The texts differ between versions of Redis, the numbers do not."""
    generator = random.Random(4)
    ours, theirs = shared_node.raw(), redis_server.raw()
    for connection in (ours, theirs):
        connection("DEL", "z")
    for number in range(1_000):
        amount = repr(generator.uniform(-10, 10) * 10 ** generator.randint(-5, 5))
        verb = generator.choice(["ZINCRBY", "ZINCRBY", "ZINCRBY", "ZADD"])
        command = [verb, "z", amount, generator.choice("ab")]
        mine, expected = ours(*command), theirs(*command)
        assert float(mine[1]) == float(expected[1]), f"step {number}: {command}"
    for member in "ab":
        assert float(ours("ZSCORE", "z", member)[1]) == float(theirs("ZSCORE", "z", member)[1])
    ours.close()
    theirs.close()


def test_ranks_with_scores(shared_node):
    """An option of Redis 7.2."""
    connection = shared_node.raw()
    connection("DEL", "z")
    connection("ZADD", "z", "1", "a", "2.5", "b")
    assert connection("ZRANK", "z", "b", "WITHSCORE") == (b"*", [(b":", b"1"), (b"$", b"2.5")])
    assert connection("ZREVRANK", "z", "b", "withscore") == (b"*", [(b":", b"0"), (b"$", b"2.5")])
    assert connection("ZRANK", "z", "x", "WITHSCORE") == (b"*", None)
    assert connection("ZRANK", "nope", "x", "WITHSCORE") == (b"*", None)
    assert connection("ZRANK", "z", "b", "FOO") == (b"-", b"ERR syntax error")
    connection("HELLO", "3")
    assert connection("ZRANK", "z", "b", "WITHSCORE") == (b"*", [(b":", b"1"), (b",", b"2.5")])
    connection.close()


def test_scores_are_written_in_their_shortest_form(shared_node):
    """As Redis 7.2 writes them; earlier versions give seventeen digits."""
    connection = shared_node.raw()
    for score, text in [("0.1", b"0.1"), ("100000000", b"100000000"), ("1e20", b"1e+20"), ("3.0", b"3"), ("1e-9", b"1e-9")]:
        connection("ZADD", "z", score, "m")
        assert connection("ZSCORE", "z", "m") == (b"$", text)
    connection.close()


def test_a_large_sorted_set_is_level_after_a_node_was_away(shared_cluster, redis_server):
    """Elements of a large key are compared one by one when a quorum reads."""
    ours, theirs = shared_cluster[0].raw(), redis_server.raw()
    for connection in (ours, theirs):
        connection("FLUSHALL")
        for start in range(0, 3_000, 500):
            pairs = [word for number in range(start, start + 500) for word in (str(number % 97), f"member-{number}")]
            connection("ZADD", "large", *pairs)
        connection("ZREMRANGEBYSCORE", "large", "10", "20")
        connection("ZINCRBY", "large", "0.5", "member-7")
    for node in shared_cluster:
        connection = node.raw()
        command = words("ZRANGE large 0 -1 WITHSCORES")
        assert connection(*command) == theirs(*command)
        connection.close()
    ours.close()
    theirs.close()
