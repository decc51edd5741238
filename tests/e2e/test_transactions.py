"""MULTI, EXEC, DISCARD, WATCH and UNWATCH: beside a redis-server within a slot, and on a cluster that loses nodes."""

import concurrent.futures
import random
import threading

import pytest
import redis
from nodes import Node, encode, wait_until

SCRIPTS = """
MULTI | SET {t}a 1 | INCR {t}a | GET {t}a | EXEC | GET {t}a | EXEC | DISCARD | MULTI | EXEC
MULTI | MULTI | SET {t}a 1 | EXEC | MULTI | SET {t}a 2 | DISCARD | GET {t}a | MULTI x | EXEC x | MULTI | SET {t}a 3 | EXEC x | GET {t}a | EXEC
MULTI | NOPE | SET {t}a 2 | EXEC | EXISTS {t}a | MULTI | GET | DISCARD | MULTI | CLIENT NOPE | PING | EXEC | MULTI | SAVE | EXEC | MULTI | GET {t}a | EXEC
SET {t}s v | MULTI | INCR {t}s | SADD {t}s x | SET {t}n 1 | GET {t}s | SINTERCARD 0 {t}a | ZADD {t}z x y | GET | EXEC | GET {t}n | MULTI | SADD {t}s x | SET {t}n 2 | EXEC | GET {t}n
MULTI | PING | PING hello | ECHO x | SELECT 0 | SELECT 1 | CLIENT GETNAME | CLIENT SETNAME me | UNWATCH | EXEC | CLIENT GETNAME | MULTI | PING | INCR {t}a | ECHO y | EXEC
MULTI | HSET {t}h a 1 b 2 | HGETALL {t}h | SADD {t}s x y | SUNIONSTORE {t}d {t}s | SMEMBERS {t}none | ZADD {t}z 1 a 2 b | ZRANGE {t}z 0 -1 WITHSCORES | MGET {t}a {t}b | MSET {t}a 1 {t}b 2 | DEL {t}a {t}none | RENAME {t}b {t}c | EXEC | GET {t}c | EXISTS {t}a
WATCH {t}a | MULTI | SET {t}a 1 | EXEC | WATCH {t}a | SET {t}a 2 | MULTI | SET {t}a 3 | EXEC | GET {t}a | MULTI | SET {t}a 4 | EXEC | GET {t}a
WATCH {t}a {t}b | SET {t}b 1 | MULTI | PING | EXEC | WATCH {t}a | UNWATCH | SET {t}a 1 | MULTI | GET {t}a | EXEC | WATCH {t}a | SET {t}a 1 | DISCARD | MULTI | DISCARD | MULTI | GET {t}a | EXEC
SET {t}a 1 | WATCH {t}a | SET {t}a 1 | MULTI | GET {t}a | EXEC | WATCH {t}a | EXPIRE {t}a 100 | MULTI | GET {t}a | EXEC | WATCH {t}a | PERSIST {t}a | MULTI | GET {t}a | EXEC | WATCH {t}a | DEL {t}a | MULTI | PING | EXEC | WATCH {t}a | DEL {t}a | MULTI | PING | EXEC
SADD {t}s a b | WATCH {t}s | SREM {t}s nope | MULTI | PING | EXEC | WATCH {t}s | SADD {t}s a2 | MULTI | PING | EXEC | WATCH {t}s | WATCH {t}s | SREM {t}s a | WATCH {t}s | MULTI | PING | EXEC | HSET {t}h f 1 | WATCH {t}h | HINCRBY {t}h f 1 | MULTI | PING | EXEC | ZADD {t}z 1 a | WATCH {t}z | ZINCRBY {t}z 1 a | MULTI | PING | EXEC
MULTI | WATCH {t}a | SET {t}a 1 | EXEC | WATCH | WATCH {t}a | RESET | SET {t}a 2 | MULTI | GET {t}a | RESET | EXEC | MULTI | GET {t}a | EXEC
HELLO 3 | MULTI | HSET {t}h a 1 | HGETALL {t}h | ZADD {t}z 1.5 m | ZSCORE {t}z m | GET {t}none | SMEMBERS {t}none | ZRANK {t}z none WITHSCORE | EXEC | WATCH {t}h | HSET {t}h a 2 | MULTI | PING | EXEC
SET {t}a 1 PX 30 | WATCH {t}a | DEBUG SLEEP 0.06 | MULTI | PING | EXEC | WATCH {t}a | MULTI | SET {t}a 2 PX 1 | SET {t}a 3 | GET {t}a | EXEC
MULTI | SINTERCARD 5 {t}a | EXEC | MULTI | PING | SINTERCARD 0 {t}a | SINTERCARD x {t}a | ECHO y | EXEC | MULTI | ZUNION 5 {t}a | ZUNION 0 {t}a | ZUNION x {t}a | ZINTER 5 {t}a | ZDIFF 0 {t}a | ZINTERCARD x {t}a | ZMPOP 0 {t}a MIN | ZMPOP 5 {t}a MIN | EXEC | MULTI | ZMPOP 0 {t}a MIN | SET {t}a 1 | EXEC | GET {t}a
MULTI | ZUNIONSTORE {t}d 0 {t}a | ZINTERSTORE {t}d x {t}a | ZDIFFSTORE {t}d 5 {t}a | EXEC | EXISTS {t}d | MULTI | OBJECT FREQ {t}a | MEMORY USAGE {t}none | MEMORY USAGE {t}none SAMPLES x | MEMORY USAGE {t}none SAMPLES -1 | EXEC | MULTI | MEMORY USAGE {t}none | EXEC
SADD {t}s a b | WATCH {t}s | SADD {t}s a | MULTI | PING | EXEC | WATCH {t}s | SMOVE {t}s {t}s a | MULTI | PING | EXEC | SADD {t}o a | WATCH {t}o | SMOVE {t}s {t}o a | MULTI | PING | EXEC | WATCH {t}s | EXPIRE {t}s 100 | MULTI | PING | EXEC | WATCH {t}s | SADD {t}s b | MULTI | PING | EXEC | WATCH {t}s | EXPIRE {t}s 100 | MULTI | PING | EXEC
ZADD {t}z 1 a inf i -inf j | WATCH {t}z | ZADD {t}z 1 a | MULTI | PING | EXEC | WATCH {t}z | ZADD {t}z INCR 0 a | ZADD {t}z XX INCR 0 a | ZINCRBY {t}z 0 a | ZINCRBY {t}z 5 i | ZINCRBY {t}z 5 j | ZADD {t}z NX 7 a | ZADD {t}z GT 0 a | ZADD {t}z XX 1 none | MULTI | PING | EXEC | WATCH {t}z | ZADD {t}z 2 a | MULTI | PING | EXEC | WATCH {t}z | ZINCRBY {t}z 1 new | MULTI | PING | EXEC | WATCH {t}z | ZREM {t}z new | MULTI | PING | EXEC
SET {t}a x | WATCH {t}a | APPEND {t}a y | MULTI | PING | EXEC | WATCH {t}a | SETNX {t}a z | SETRANGE {t}a 0 q | MULTI | PING | EXEC | WATCH {t}a | SETNX {t}a z | GETEX {t}a | PERSIST {t}a | EXPIRE {t}a 10 XX | GETRANGE {t}a 0 1 | RENAME {t}a {t}a | COPY {t}a {t}b | MULTI | PING | EXEC | HSET {t}h a 1 | WATCH {t}h | HSETNX {t}h a 2 | HDEL {t}h none | MULTI | PING | EXEC | WATCH {t}h | HSET {t}h a 1 | MULTI | PING | EXEC | SET {t}n 1 | WATCH {t}n | INCRBY {t}n 0 | MULTI | PING | EXEC | WATCH {t}h | HINCRBY {t}h a 0 | MULTI | PING | EXEC
COMMAND GETKEYS WATCH a b | COMMAND GETKEYSANDFLAGS WATCH a | COMMAND GETKEYS MULTI | COMMAND LIST FILTERBY ACLCAT transaction
""".strip().splitlines()

SPREAD_SCRIPTS = """
MSET a 1 b 2 c 3 | MULTI | MSET a 4 d 5 e 6 | MGET a b c d none | DEL a c none | EXISTS a b d e | MSETNX b 1 x 2 | MSETNX x 1 y 2 | UNLINK b x | TOUCH y d | EXEC | MGET a b c d e x y
MULTI | SADD s1 a b c | SADD s2 b c d | SUNIONSTORE s3 s1 s2 | SINTERSTORE s4 s1 s2 | SDIFFSTORE s5 s1 s2 | SCARD s3 | SCARD s4 | SMEMBERS s5 | SMOVE s1 s2 a | SISMEMBER s2 a | SINTERCARD 2 s1 s2 | SINTERCARD 2 s1 s2 LIMIT 1 | EXEC | SCARD s1
MULTI | ZADD z1 1 a 2 b | ZADD z2 3 b 4 c | ZUNIONSTORE z3 2 z1 z2 WEIGHTS 2 1 | ZRANGE z3 0 -1 WITHSCORES | ZINTER 2 z1 z2 WITHSCORES | ZMPOP 2 none z2 MAX | ZDIFF 2 z1 z2 | EXEC | ZRANGE z2 0 -1
MULTI | SET a x | RENAME a b | RENAME none b | RENAMENX b c | COPY c d | COPY c d | COPY c d REPLACE | COPY c d NOPE | EXEC | MGET a b c d
SET a x | MULTI | SADD a y | SUNION a b | SINTERSTORE c a b | MGET a b | MSET b 1 c | INCR a | SET b 2 | EXEC | MGET a b c
WATCH a b c | MULTI | MSET a 1 b 2 | EXEC | WATCH a b c | SET c 1 | MULTI | MSET a 3 b 4 | EXEC | MGET a b c | WATCH a | WATCH c | MULTI | INCR b | EXEC | WATCH a c | UNWATCH | SET a 9 | MULTI | MGET a c | EXEC
SET a 1 PX 30 | WATCH a b | DEBUG SLEEP 0.06 | MULTI | SET b 1 | EXEC | EXISTS a b | SET a 1 PX 30 | WATCH a b | MULTI | GET a | PERSIST a | SET b 2 | EXEC | MGET a b
HELLO 3 | MULTI | HSET h a 1 | HGETALL h | SADD s1 a | SADD s2 b | SINTER s1 s2 | SUNION s1 s1 | MGET a b | ZADD z1 1.5 m | ZUNION 2 z1 z2 WITHSCORES | EXEC | WATCH h s1 | HSET h a 2 | MULTI | MGET a b | EXEC
MULTI | SETEX a 100 x | PEXPIRE b 100 | TTL a | PERSIST a | TTL a | PING | CLIENT GETNAME | SELECT 0 | MEMORY USAGE none | OBJECT ENCODING none | ECHO x | HSET h f v | HSETNX h f w | EXEC | HGETALL h
""".strip().splitlines()


def run(server, lines):
    connection = server.raw()
    connection("FLUSHALL")
    replies = [connection(*line.split(" ")) for line in lines.split(" | ")]
    connection.close()
    return replies


def compared(lines, replies):
    """Replies without what has no order."""
    return [(line, sorted(reply[1]) if line.startswith("COMMAND LIST") else reply)
            for line, reply in zip(lines.split(" | "), replies) if not line.startswith(("HELLO", "ZRANK"))]


@pytest.mark.parametrize("lines", SCRIPTS)
def test_transactions_answer_as_in_redis(shared_node, redis_server, lines):
    lines = lines.replace("ZRANK {t}z none WITHSCORE | ", "")
    assert compared(lines, run(shared_node, lines)) == compared(lines, run(redis_server, lines))


@pytest.mark.parametrize("lines", SCRIPTS + SPREAD_SCRIPTS)
def test_transactions_over_many_slots_answer_as_in_redis(shared_node, redis_server, lines):
    lines = lines.replace("ZRANK {t}z none WITHSCORE | ", "").replace("{t}", "")
    assert compared(lines, run(shared_node, lines)) == compared(lines, run(redis_server, lines))


def test_transactions_answer_alike_through_every_node_of_a_cluster(shared_cluster, redis_server):
    for lines in SCRIPTS:
        # An expiry is longer than the clocks of nodes differ.
        if "DEBUG" in lines or "WITHSCORE |" in lines:
            continue
        expected = compared(lines, run(redis_server, lines))
        for node in shared_cluster.nodes:
            assert compared(lines, run(node, lines)) == expected


@pytest.mark.parametrize("write", ["SADD {t}k a", "ZADD {t}z 1 a", "ZADD {t}z XX INCR 0 a", "ZINCRBY {t}z 0 a", "ZINCRBY {t}z 1 i", "ZINCRBY {t}z 0.1 b"])
def test_what_another_client_writes_again_is_no_change(shared_cluster, redis_server, write):
    for first, second in ((redis_server, redis_server), (shared_cluster[0], shared_cluster[1])):
        watcher, writer = first.raw(), second.raw()
        for line in ("FLUSHALL", "SADD {t}k a", "ZADD {t}z 1 a inf i 1e16 b"):
            writer(*line.split())
        assert watcher("WATCH", "{t}k", "{t}z") == (b"+", b"OK")
        writer(*write.split())
        assert watcher("MULTI") == (b"+", b"OK")
        assert watcher("SET", "{t}a", "1") == (b"+", b"QUEUED")
        assert watcher("EXEC") == (b"*", [(b"+", b"OK")])
        for connection in (watcher, writer):
            connection.close()


def test_a_large_set_is_watched(shared_node):
    connection = shared_node.raw()
    connection("FLUSHALL")
    connection("SADD", "{t}s", *range(2_000))
    for write, reply in ((("SREM", "{t}s", "none"), [(b"+", b"PONG")]), (("SADD", "{t}s", "new"), None)):
        connection("WATCH", "{t}s")
        connection(*write)
        connection("MULTI")
        connection("PING")
        assert connection("EXEC") == (b"*", reply)
    connection.close()


def test_queued_commands_on_no_key_are_answered(shared_node, shared_cluster):
    for server in (shared_node, shared_cluster[0]):
        connection = server.raw()
        for queued in (("OBJECT", "HELP"), ("PING",)), (("OBJECT", "HELP"), ("GET", "{t}a")):
            connection("MULTI")
            for words in queued:
                assert connection(*words) == (b"+", b"QUEUED")
            help_text, _ = connection("EXEC")[1]
            assert help_text == connection("OBJECT", "HELP")
        connection("SET", "{t}a", "1")
        connection("MULTI")
        connection("MEMORY", "USAGE", "{t}a")
        assert connection("EXEC") == (b"*", [connection("MEMORY", "USAGE", "{t}a")])
        connection.close()


def test_a_client_in_a_transaction_says_so(shared_node, redis_server):
    def shown(server):
        connection = server.raw()
        connection("MULTI")
        connection("CLIENT", "INFO")
        connection("PING")
        line = connection("EXEC")[1][0][1].decode()
        connection.close()
        return [field for field in line.split() if field.startswith(("flags=", "multi=", "cmd="))]

    assert shown(shared_node) == shown(redis_server)


def test_keys_of_several_slots_are_a_clear_error_on_a_cluster(shared_cluster):
    connection = shared_cluster[1].raw()
    connection("FLUSHALL")
    crossed = (b"-", b"CROSSSLOT Keys in request don't hash to the same slot")
    for first, second in ((("SET", "a", "1"), ("SET", "b", "1")), (("GET", "a"), ("MSET", "b", "1", "{b}c", "2"))):
        assert connection("MULTI") == (b"+", b"OK")
        assert connection(*first) == connection(*second) == (b"+", b"QUEUED")
        assert connection("EXEC") == crossed
    assert connection("MULTI") == (b"+", b"OK")
    assert connection("MSET", "a", "1", "b", "2") == crossed
    assert connection("EXEC")[1].startswith(b"EXECABORT")
    assert connection("WATCH", "a", "b") == crossed
    assert connection("WATCH", "a") == (b"+", b"OK")
    assert connection("MULTI") == (b"+", b"OK")
    assert connection("SET", "b", "1") == (b"+", b"QUEUED")
    assert connection("EXEC") == crossed
    assert connection("EXISTS", "a", "b") == (b":", b"0")
    connection.close()


def test_commands_over_all_keys_are_refused_in_transactions(shared_node, shared_cluster):
    for server in (shared_node, shared_cluster[1]):
        connection = server.raw()
        for words in (("DBSIZE",), ("FLUSHALL",), ("INFO",), ("SCAN", "0"), ("CONFIG", "SET", "timeout", "1")):
            assert connection("MULTI") == (b"+", b"OK")
            assert connection(*words) == (b"-", b"ERR Command not allowed inside a transaction")
            assert connection("EXEC")[1].startswith(b"EXECABORT")
        connection.close()


def test_pipelines_in_transactions_are_whole_for_every_reader(shared_cluster):
    """Two keys that are only written together are never seen apart, through whatever node."""
    ended, wrong = threading.Event(), []

    def read(node):
        connection = node.raw()
        while not ended.is_set():
            connection.send(encode("MULTI") + encode("GET", "{p}a") + encode("GET", "{p}b") + encode("EXEC"))
            replies = [connection.read() for _ in range(4)]
            pair = replies[3][1]
            if replies[3][0] != b"*" or pair[0] != pair[1]:
                wrong.append(replies)
        connection.close()

    readers = [threading.Thread(target=read, args=(node,)) for node in shared_cluster.nodes]
    for reader in readers:
        reader.start()
    writers = [node.raw() for node in shared_cluster.nodes]
    for number in range(100):
        connection = writers[number % 3]
        connection.send(encode("MULTI") + encode("SET", "{p}a", number) + encode("SET", "{p}b", number) + encode("EXEC"))
        assert [connection.read() for _ in range(4)][3] == (b"*", [(b"+", b"OK")] * 2)
    ended.set()
    for reader in readers:
        reader.join(60)
    assert not wrong, wrong[:3]
    for connection in writers:
        connection.close()


def raise_by_one(connection, key):
    """One attempt to add one by WATCH, GET, MULTI, SET, EXEC. Whether it is known to be done."""
    assert connection("WATCH", key) == (b"+", b"OK")
    before = int(connection("GET", key)[1] or 0)
    assert connection("MULTI") == (b"+", b"OK")
    assert connection("SET", key, before + 1) == (b"+", b"QUEUED")
    reply = connection("EXEC")
    assert reply in ((b"*", None), (b"*", [(b"+", b"OK")])), reply
    return reply[1] is not None


def test_watched_increments_of_all_nodes_add_up(shared_cluster):
    key, done = "{w}counter", []

    def work(node):
        connection = node.raw()
        done.append(sum(raise_by_one(connection, key) for _ in range(40)))
        connection.close()

    workers = [threading.Thread(target=work, args=(node,)) for node in shared_cluster.nodes for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    connection = shared_cluster.nodes[0].raw()
    assert len(done) == len(workers)
    assert sum(done) > 0 and connection("GET", key) == (b"$", str(sum(done)).encode())
    connection.close()


def test_a_watch_holds_when_another_node_executes(cluster):
    first, second = cluster[0].raw(), cluster[1].raw()
    for number in range(8):
        key = "{%d}k" % number
        assert first("SET", key, "1") == (b"+", b"OK")
        assert first("WATCH", key) == (b"+", b"OK")
        if number % 2:
            assert second("SET", key, "2") == (b"+", b"OK")
        first("PING")
        if number == 4:
            cluster[2].kill()
        assert first("MULTI") == (b"+", b"OK")
        assert first("SET", key, "3") == (b"+", b"QUEUED")
        reply = first("EXEC")
        while reply[0] == b"-" and reply[1].startswith((b"UNKNOWN", b"UNAVAILABLE", b"TIMEOUT")):
            assert first("WATCH", key) == (b"+", b"OK")
            if number % 2:
                assert second("SET", key, "2")[0] == b"+"
            assert first("MULTI") == (b"+", b"OK")
            assert first("SET", key, "3") == (b"+", b"QUEUED")
            reply = first("EXEC")
        assert reply == ((b"*", None) if number % 2 else (b"*", [(b"+", b"OK")])), key
    for connection in (first, second):
        connection.close()


def test_a_killed_node_has_all_of_a_transaction_or_nothing(tmp_path):
    node = Node(tmp_path / "node", arguments=["--shards", "2"]).start()
    try:
        for attempt in range(5):
            connection = node.raw()
            sent = threading.Thread(target=send_until_gone, args=(connection, attempt))
            sent.start()
            sent.join(0.15)
            node.kill()
            sent.join(30)
            connection.close()
            node.start()
            probe = node.raw()
            values = probe("MGET", *("{k}%d" % number for number in range(50)))[1]
            assert len(set(values)) == 1, values
            probe.close()
    finally:
        node.kill()


def send_until_gone(connection, attempt):
    number = 0
    try:
        while True:
            number += 1
            value = f"{attempt}-{number}-" + "x" * 1000
            sets = b"".join(encode("SET", "{k}%d" % key, value) for key in range(50))
            connection.send(encode("MULTI") + sets + encode("EXEC"))
            for _ in range(52):
                connection.read()
    except (OSError, EOFError):
        pass


ACCOUNTS = 40


def transfer(connection, attempt, has_moved):
    """Moves amounts between accounts of different slots, several transactions at a time, until the node is gone."""
    chosen = random.Random(attempt)
    try:
        while True:
            for _ in range(4):
                source, target, amount = chosen.randrange(ACCOUNTS), chosen.randrange(ACCOUNTS), chosen.randrange(100)
                commands = ("MULTI",), ("DECRBY", f"account:{source}", amount), ("INCRBY", f"account:{target}", amount), ("EXEC",)
                connection.send(b"".join(encode(*words) for words in commands))
            for _ in range(4):
                replies = [connection.read() for _ in range(4)]
                assert replies[3][0] == b"*", replies
            has_moved.set()
    except (OSError, EOFError):
        pass


def balances(connection):
    connection("MULTI")
    # Two commands, so that whatever comes between them shows.
    half = ACCOUNTS // 2
    connection("MGET", *(f"account:{number}" for number in range(half)))
    connection("MGET", *(f"account:{number}" for number in range(half, ACCOUNTS)))
    first, second = connection("EXEC")[1]
    return [int(value or 0) for _, value in first[1] + second[1]]


@pytest.mark.parametrize("arguments", [["--shards", "1"], ["--shards", "4"], ["--shards", "3", "--sync", "always"]], ids=" ".join)
def test_amounts_are_neither_made_nor_lost_on_their_way_between_shards(tmp_path, arguments):
    node = Node(tmp_path / "node", arguments=arguments).start()
    try:
        for attempt in range(4):
            connections = [node.raw() for _ in range(4)]
            pool = concurrent.futures.ThreadPoolExecutor(4)
            moved = [threading.Event() for _ in connections]
            movers = [
                pool.submit(transfer, connection, 10 * attempt + number, has_moved)
                for number, (connection, has_moved) in enumerate(zip(connections, moved))
            ]
            reader = node.raw()
            seen = [balances(reader) for _ in range(50)]
            assert [sum(values) for values in seen] == [0] * 50
            assert all(has_moved.wait(60) for has_moved in moved)
            node.kill()
            [mover.result(60) for mover in movers]
            for connection in (*connections, reader):
                connection.close()
            # What the first start has found must outlive the logs in which it was.
            for _ in range(2):
                node.start()
                probe = node.raw()
                values = balances(probe)
                assert sum(values) == 0 and any(values), values
                assert probe("BGREWRITEAOF")[0] == b"+"
                wait_until(lambda: b"aof_rewrite_in_progress:0" in probe("INFO", "persistence")[1], 30, "the log is written again")
                probe.close()
                node.kill()
            node.start()
    finally:
        node.kill()


def test_a_client_that_leaves_holds_nobody_up(shared_node):
    for _ in range(20):
        connection = shared_node.raw()
        sets = b"".join(encode("SET", f"left:{key}", "x" * 100) for key in range(200))
        connection.send(b"".join((encode("MULTI") + sets + encode("EXEC")) for _ in range(3)))
        connection.close()
    connection = shared_node.raw()
    assert connection("MULTI") == (b"+", b"OK")
    for key in range(200):
        assert connection("GET", f"left:{key}") == (b"+", b"QUEUED")
    assert len(connection("EXEC")[1]) == 200
    connection.close()


def test_a_client_library_puts_any_keys_into_a_transaction(shared_node):
    client = redis.Redis(port=shared_node.port)
    client.flushall()
    with client.pipeline(transaction=True) as pipeline:
        for number in range(100):
            pipeline.set(f"key:{number}", number)
        pipeline.mset({"a": 1, "b": 2})
        pipeline.sadd("s1", "x").sadd("s2", "y").sunionstore("s3", "s1", "s2")
        assert pipeline.execute() == [True] * 101 + [1, 1, 2]
    assert client.mget(f"key:{number}" for number in range(100)) == [b"%d" % number for number in range(100)]
    assert client.smembers("s3") == {b"x", b"y"}

    def raise_both(pipeline):
        values = [int(value or 0) for value in pipeline.mget("first", "second")]
        pipeline.multi()
        pipeline.mset({"first": values[0] + 1, "second": values[1] + 1})

    def work():
        for _ in range(50):
            client.transaction(raise_both, "first", "second")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert client.mget("first", "second") == [b"200", b"200"]
    client.close()


def test_the_slow_log_has_the_commands_of_a_transaction(shared_node, redis_server):
    logged = []
    for server in (shared_node, redis_server):
        connection = server.raw()
        connection("CONFIG", "SET", "slowlog-log-slower-than", "0")
        connection("SLOWLOG", "RESET")
        for words in ("MULTI", "SET {s}a 1", "SADD {s}a 1", "PING", "GET {s}a", "EXEC", "MULTI", "GET {s}a", "DISCARD",
                      "WATCH {s}a", "UNWATCH", "CONFIG SET slowlog-log-slower-than 10000"):
            connection(*words.split())
        entries = connection("SLOWLOG", "GET", "-1")[1]
        entries = [[word for _, word in entry[1][3][1]] for entry in entries]
        # Whether the command that sets the limit is slow is judged by the old one here.
        logged.append([words for words in entries if words[0] != b"CONFIG"])
        connection.close()
    assert logged[0] == logged[1]
    assert [b"GET", b"{s}a"] in logged[0] and [b"EXEC"] not in logged[0]


@pytest.mark.parametrize("shards", [1, 3])
def test_a_long_command_is_before_a_transaction_or_behind_it(tmp_path, shards):
    node = Node(tmp_path, arguments=["--shards", str(shards)]).start()
    try:
        members = [f"m:{number}" for number in range(60_000)]
        others, transactions = node.raw(), node.raw()
        for attempt in range(12):
            key = f"{{{attempt}}}set"
            long = encode("SADD", key, *members)
            spread = [("SET", f"far:{number}", attempt) for number in range(8)]
            added = threading.Event()

            def transact():
                counts = 0
                while not added.is_set():
                    # Of each member that either adds, one says that it was new.
                    member = random.choice(members)
                    queued = [("SADD", key, member), *spread[: random.choice([0, 8])]]
                    for words in [("MULTI",), *queued]:
                        transactions(*words)
                    counts += int(transactions("EXEC")[1][0][1])
                return counts

            with concurrent.futures.ThreadPoolExecutor() as pool:
                beside = pool.submit(transact)
                others.send(long)
                by_long = int(others.read()[1])
                added.set()
                by_transactions = beside.result()
            assert by_long + by_transactions == len(members) == int(others("SCARD", key)[1])
    finally:
        node.stop()


REMOVALS = """
DEL s{a} | SADD s{a} again
SREM s{a} m:0 m:1
HDEL h{a} f
ZPOPMIN z{a}
RENAME s{a} t{a}
GETDEL o{a}
SPOP s{b} 2
DEL h{c} s{c} o{c}
PERSIST o{b} | DEL o{b}
FLUSHALL
""".strip().splitlines()


@pytest.mark.parametrize("between", ["nothing", "rewrite", "transaction"])
@pytest.mark.parametrize("removal", REMOVALS, ids=lambda line: line.split()[0])
def test_what_is_removed_after_a_transaction_stays_removed(tmp_path, removal, between):
    # {a} and {b} are on the first of three shards, {c} is on the second.
    node = Node(tmp_path, arguments=["--shards", "3"]).start()
    try:
        client = node.raw()
        ask = lambda line: client(*line.split())
        queued = [
            line.replace("X", tag)
            for tag in ("{a}", "{b}", "{c}")
            for line in ("SADD sX m:0 m:1 m:2 m:3", "HSET hX f 1 g 2", "ZADD zX 1 x 2 y", "SET oX 1 EX 1000")
        ]
        for line in ["MULTI", *queued, "EXEC", *removal.split(" | ")]:
            ask(line)
        if between == "rewrite":
            ask("BGREWRITEAOF")
            ask("SREM s{a} m:2")
        elif between == "transaction":
            for line in ["MULTI", "SET last{b} 1", "SET last{c} 1", "EXEC", "SREM s{c} m:3"]:
                ask(line)
        shown = lambda: [
            sorted(map(str, ask(f"{name} {letter}{{{tag}}}")[1] or []))
            for tag in "abc"
            for name, letter in [("SMEMBERS", "s"), ("SMEMBERS", "t"), ("HGETALL", "h"), ("ZRANGE", "z")]
            if name != "ZRANGE"
        ] + [ask(f"ZRANGE z{{{tag}}} 0 -1") for tag in "abc"] + [ask(f"GET o{{{tag}}}") for tag in "abc"]
        before = shown()
        for end in (node.stop, node.kill):
            end()
            node.start()
            client = node.raw()
            assert shown() == before
    finally:
        node.stop()
