"""How fast slots go to other members, what operators are told of it, and what a member that is lost for good takes along."""

import subprocess

import redis
from nodes import QUORATE, START_SECONDS, Cluster, wait_until
from test_growing import newcomer
from test_movement import MOVED_SECONDS, at_rest
from test_topology import quorate, topology


def test_a_change_says_what_travels_and_goes_at_the_pace_that_is_set(tmp_path):
    cluster = Cluster(tmp_path, 3, ["--movement-bytes-per-second", "1mb"])
    added = None
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        pipeline = client.pipeline(transaction=False)
        for number in range(2_000):
            pipeline.set(f"key{number}", bytes(1_000))
        pipeline.execute()
        cluster.meet()
        added = newcomer(tmp_path, cluster, "n4")
        pace = "quorate-movement-bytes-per-second"
        assert client.config_get(pace) == {pace: str(1 << 20)}
        for wrong in ("0", "x", "1"):
            try:
                client.config_set(pace, wrong)
                raise AssertionError(f"{wrong} is taken")
            except redis.ResponseError as error:
                assert "between 65536 and" in str(error)
        client.config_set(pace, "64kb")
        dry = quorate(cluster[0], "join", "n4", "--dry-run")
        assert "12288 copies are made" in dry and "(64.0 KB/s, movement_bytes_per_second)" in dry, dry
        # Nobody waits for that: it is changed while slots move.
        for node in cluster.nodes:
            redis.Redis(port=node.port).config_set(pace, "64kb")
        quorate(cluster[1], "join", "n4")
        command = [QUORATE, "join", "n4", "--wait", "--address", f"127.0.0.1:{cluster[2].port}"]
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_until(lambda: topology(cluster[2])["moving"], START_SECONDS, "slots move")
            for node in [*cluster.nodes, added]:
                redis.Redis(port=node.port).config_set(pace, "1gb")
            said, _ = waiting.communicate(timeout=MOVED_SECONDS)
        finally:
            waiting.kill()
        assert waiting.returncode == 0, said
        assert "nothing to change" in said and "done after" in said, said
        assert " slots, " in said and " of about " in said, said
        wait_until(lambda: at_rest([*cluster.nodes, added], ["n1", "n2", "n3", "n4"]), MOVED_SECONDS, "at rest")
        # Three quarters of two million bytes came to it, whatever else rounds have moved.
        wait_until(lambda: topology(cluster[0])["round_bytes"] > 1_500_000, START_SECONDS, "the members have told")
    finally:
        if added:
            added.kill()
        cluster.stop()


def test_what_a_lost_member_kept_for_others_is_told_and_compared(tmp_path):
    cluster = Cluster(tmp_path, 3, ["--write-level", "ONE"])
    try:
        cluster.start()
        n1, n2, n3 = cluster.nodes
        redis.Redis(port=n1.port).set("before", "1")
        cluster.meet()
        # While n2 is away, n3 keeps for it what it executes.
        n2.kill()
        wait_until(lambda: not n3.sees("n2"), START_SECONDS, "it is noticed")
        client = redis.Redis(port=n3.port)
        for number in range(300):
            client.set(f"key{number}", number)
        wait_until(lambda: n1.status()["keys"] == 301, START_SECONDS, "n1 has it too")

        def kept():
            return {it["name"]: it.get("hint_bytes", 0) for it in n1.status()["members"]}["n3"]

        wait_until(lambda: int(kept() or 0) > 0, START_SECONDS, "n3 has said what it keeps")
        n3.kill()
        n2.start()
        wait_until(lambda: not n1.sees("n3") and n1.sees("n2"), START_SECONDS, "n3 is lost")
        said = quorate(n1, "remove-dead", "n3")
        assert "of hints for others" in said and "it kept 0 bytes" not in said, said
        assert "compared after" in said, said
        assert topology(n1)["unsettled"] == 0
        left = redis.Redis(port=n2.port)
        left.execute_command("CONFIG", "SET", "quorate-read-level", "ONE")
        wait_until(lambda: at_rest([n1, n2], ["n1", "n2"]), MOVED_SECONDS, "two are left")
        assert n2.status()["keys"] == 301
    finally:
        cluster.stop()
