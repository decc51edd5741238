"""While slots get other owners, what decides by what it finds decides once: no two clients are answered alike. And the
clients of a node that leaves are told no errors."""

import threading

import redis
from nodes import START_SECONDS, Cluster, wait_until
from test_growing import newcomer
from test_movement import MOVED_SECONDS, at_rest
from test_topology import quorate

KEYS = 20


class Rivals:
    """Three clients at three nodes that ask for the same fresh keys at the same moment, again and again."""

    def __init__(self, ports):
        self.clients = [redis.Redis(port=port, decode_responses=True) for port in ports]
        self.barrier = threading.Barrier(len(ports))
        self.answers, self.wrong, self.errors, self.asked = {}, [], [], 0
        self.over = False
        self.threads = [threading.Thread(target=self.run, args=(it,), daemon=True) for it in range(len(ports))]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        turn = 0
        try:
            while not self.over:
                turn += 1
                self.barrier.wait(30)
                pipeline = self.clients[number].pipeline(transaction=False)
                for key in (f"{turn}.{it}" for it in range(KEYS)):
                    pipeline.set(f"lock{key}", number, nx=True)
                    pipeline.incr(f"count{key}")
                    pipeline.getset(f"value{key}", number)
                    pipeline.sadd(f"set{key}", "member")
                    pipeline.hsetnx(f"hash{key}", "field", number)
                self.answers[number] = pipeline.execute(raise_on_error=False)
                self.barrier.wait(30)
                if number == 0:
                    self.judge(turn)
                self.barrier.wait(30)
        except threading.BrokenBarrierError:
            return
        except redis.RedisError as error:
            self.errors.append(repr(error))
            self.barrier.abort()

    def judge(self, turn):
        for place, answers in enumerate(zip(*self.answers.values(), strict=True)):
            self.asked += 1
            kind = ("lock", "count", "value", "set", "hash")[place % 5]
            failed = [str(it) for it in answers if isinstance(it, Exception)]
            self.errors.extend(failed)
            if failed:
                continue
            found = [it is None if kind == "value" else bool(it) for it in answers]
            if kind == "count" and sorted(answers) != [1, 2, 3] or kind != "count" and sum(found) != 1:
                self.wrong.append((kind, turn, answers))

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join(1)
        self.barrier.abort()


def test_no_two_clients_are_answered_alike_while_slots_move(tmp_path):
    cluster = Cluster(tmp_path)
    added, rivals = None, None
    try:
        cluster.start()
        assert redis.Redis(port=cluster[0].port).set("before", "1")
        cluster.meet()
        rivals = Rivals([node.port for node in cluster.nodes])
        added = newcomer(tmp_path, cluster, "n4")
        everybody, names = [*cluster.nodes, added], ["n1", "n2", "n3", "n4"]
        for words in (["join", "n4"], ["set-rf", "2"], ["set-rf", "3"]):
            quorate(cluster[0], *words)
            wait_until(lambda: at_rest(everybody, names), MOVED_SECONDS, f"{words} is done")
        quorate(cluster[1], "leave", "n4")
        wait_until(lambda: at_rest(cluster.nodes, names[:3]), MOVED_SECONDS, "it has left")
        rivals.stop()
        assert rivals.asked > 1_000
        assert rivals.errors == []
        assert rivals.wrong == [], f"{len(rivals.wrong)} of {rivals.asked}: {rivals.wrong[:5]}"
    finally:
        if rivals:
            rivals.stop()
        if added:
            added.kill()
        cluster.stop()


class Guest(threading.Thread):
    """Reads and writes at one node until that closes the connection for good, and keeps error replies."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.client = redis.Redis(port=port, retry=None, socket_timeout=30)
        self.number, self.done, self.errors = number, 0, []

    def run(self):
        while True:
            key = f"guest{self.number}.{self.done % 50}"
            try:
                self.client.incr(key)
                self.client.get(key)
                self.done += 1
            except redis.ConnectionError:
                return
            except redis.RedisError as error:
                self.errors.append(repr(error))


def test_clients_of_a_node_that_leaves_are_told_no_error(tmp_path):
    cluster = Cluster(tmp_path)
    added = None
    try:
        cluster.start()
        assert redis.Redis(port=cluster[0].port).set("before", "1")
        cluster.meet()
        added = newcomer(tmp_path, cluster, "n4")
        quorate(cluster[0], "join", "n4")
        everybody = [*cluster.nodes, added]
        wait_until(lambda: at_rest(everybody, ["n1", "n2", "n3", "n4"]), MOVED_SECONDS, "it holds its slots")
        guests = [Guest(added.port, number) for number in range(4)]
        for guest in guests:
            guest.start()
        quorate(cluster[0], "leave", "n4")
        assert added.process.wait(MOVED_SECONDS) != 0
        for guest in guests:
            guest.join(START_SECONDS)
        assert "has left the cluster" in added.log().strip().splitlines()[-1]
        assert all(guest.done > 10 for guest in guests)
        assert [error for guest in guests for error in guest.errors] == []
    finally:
        if added:
            added.kill()
        cluster.stop()
