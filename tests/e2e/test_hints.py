"""What is kept for a node that is away: how much it is, where it goes, and that nothing is dropped silently."""

import json
import subprocess

import pytest
import redis
from nodes import QUORATE, Cluster, wait_until

SLOTS_PER_GROUP = 256


def quorate(*words, **options):
    return subprocess.run([QUORATE, *map(str, words)], capture_output=True, text=True, timeout=120, **options)


def address(node):
    return f"127.0.0.1:{node.port}"


def ledger(node):
    """What a node owes its peers, by name; of datacentres, too."""
    output = quorate("status", "--obligations", "--json", "--address", address(node))
    assert output.returncode == 0, output.stderr
    parsed = json.loads(output.stdout)
    return {peer["name"]: peer for peer in parsed["peers"]}, {dc["name"]: dc for dc in parsed["datacentres"]}


def kept(node, peer):
    """The row of `quorate hints list` for a peer."""
    output = quorate("hints", "list", "--address", address(node))
    assert output.returncode == 0, output.stderr
    rows = [line.split() for line in output.stdout.splitlines()]
    name, dc, state, pending, size, oldest, dirty, paused = next(row for row in rows if row[0] == peer)
    return {"state": state, "pending": int(pending), "bytes": int(size), "dirty": int(dirty), "paused": paused}


def owes_nothing(node):
    peers, datacentres = ledger(node)
    fields = ("hints", "dirty_groups", "unverified", "unacknowledged", "settled_in_ms_estimate")
    return all(row[field] == 0 for row in [*peers.values(), *datacentres.values()] for field in fields)


def all_settled(cluster, seconds=120):
    cluster.settle()
    for node in cluster.nodes:
        wait_until(lambda node=node: owes_nothing(node), seconds, f"{node.name} owes nothing")


def hint_files(node):
    """Bytes of the hints of a node on disk, by what the file system says they take."""
    total = 0
    for path in (node.directory / "data").glob("hints-*/*/*.log"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass
    return total


def write(node, keys, value="v" * 100, prefix="key"):
    client = redis.Redis(port=node.port)
    pipeline = client.pipeline(transaction=False)
    for number in keys:
        pipeline.set(f"{prefix}{number}", value)
    assert all(pipeline.execute())


def down(cluster, index):
    """Kills a node and waits until the others know."""
    cluster[index].kill()
    for node in cluster.nodes:
        if node is not cluster[index]:
            name = cluster[index].name
            wait_until(lambda node=node: ledger(node)[0][name]["state"] == "down", 10, "it is seen to be down")


def test_the_ledger_follows_a_node_that_is_away(cluster):
    write(cluster[0], range(50))
    all_settled(cluster)
    down(cluster, 2)
    write(cluster[0], range(50, 350))
    rows = lambda: [ledger(node)[0]["n3"] for node in cluster.nodes[:2]]
    wait_until(lambda: sum(row["hints"] for row in rows()) == 300, 10, "every write is a hint")
    owed = rows()
    assert sum(row["hint_keys_max"] for row in owed) == 300
    for row, node in zip(owed, cluster.nodes):
        assert row["state"] == "down" and row["unverified"] == 1 and row["dirty_groups"] == 0
        assert row["settled_in_ms_estimate"] is None
        assert kept(node, "n3")["pending"] == row["hints"] and row["hint_bytes"] > 100 * row["hints"]
        assert ledger(node)[1]["dc1"]["hints"] == row["hints"]
        client = redis.Redis(port=node.port)
        wait_until(lambda: client.info("obligations")["owed_hints"] == row["hints"], 5, "all shards have told")
        info = client.info("obligations")
        assert info["peer_n3"]["state"] == "down" and info["peer_n3"]["hints"] == row["hints"]
        assert info["datacentre_dc1"]["hint_bytes"] == info["owed_hint_bytes"] > 0
    # Nobody is there to take them: says so, and does not wait for ever.
    drained = quorate("hints", "drain", "n3", "--timeout", 1, "--address", address(cluster[0]))
    assert drained.returncode == 1 and "down" in drained.stdout and "goes on" in drained.stderr
    cluster[2].start()
    for node in cluster.nodes[:2]:
        drained = quorate("hints", "drain", "--timeout", 60, "--address", address(node))
        assert drained.returncode == 0 and drained.stdout.endswith("nothing is left\n")
    all_settled(cluster)
    assert redis.Redis(port=cluster[2].port).mget([f"key{n}" for n in range(350)]) == [b"v" * 100] * 350


def test_a_key_that_is_written_again_and_again_costs_its_target_little(cluster):
    write(cluster[0], range(10))
    all_settled(cluster)
    down(cluster, 2)
    client = redis.Redis(port=cluster[0].port)
    pipeline = client.pipeline(transaction=False)
    for number in range(5_000):
        pipeline.incr("hot")
        pipeline.set("hot-text", f"{number:0500}")
    pipeline.execute()
    pending = lambda: sum(kept(node, "n3")["pending"] for node in cluster.nodes[:2])
    wait_until(lambda: pending() == 10_000, 10, "every write is a hint")
    cluster[2].start()
    all_settled(cluster)
    third = redis.Redis(port=cluster[2].port)
    assert third.get("hot") == b"5000" and third.get("hot-text") == b"%0500d" % 4_999
    # What arrived went to its log: some coalesced effects instead of three megabytes.
    assert third.info("persistence")["aof_current_size"] < 1_000_000


def test_an_overflow_collapses_into_dirty_ranges_and_is_settled(tmp_path):
    bound = 200_000
    cluster = Cluster(tmp_path, arguments=["--hints-bytes-max", bound, "--shards", 2])
    try:
        cluster.start()
        write(cluster[0], range(100))
        all_settled(cluster)
        down(cluster, 2)
        for part in range(10):
            write(cluster[part % 2], range(part * 1_000, (part + 1) * 1_000))
            for node in cluster.nodes[:2]:
                assert hint_files(node) <= bound, "the files stay below the bound while writes go on"
        for node in cluster.nodes[:2]:
            row, listed = ledger(node)[0]["n3"], kept(node, "n3")
            assert listed["pending"] > 0 and listed["dirty"] == row["dirty_groups"] > 0
            # Every replica has every key here, so the keys of the ranges can be counted.
            assert 0 < row["dirty_keys_max"] <= 10_000
            assert 100 < row["dirty_bytes_estimate"] / row["dirty_keys_max"] < 150
        # Marks and hints survive the process.
        before = kept(cluster[0], "n3")
        cluster[0].stop()
        cluster[0].start()
        after = kept(cluster[0], "n3")
        assert (after["pending"], after["dirty"]) == (before["pending"], before["dirty"])
        cluster[2].start()
        all_settled(cluster)
        assert kept(cluster[0], "n3")["dirty"] == 0
    finally:
        cluster.stop()


def test_hints_that_are_too_old_collapse_and_other_shards_take_over(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--hint-window-seconds", 2, "--shards", 2])
    try:
        cluster.start()
        write(cluster[0], range(10))
        all_settled(cluster)
        down(cluster, 2)
        write(cluster[0], range(1_000))
        for node in cluster.nodes[:2]:
            wait_until(lambda node=node: kept(node, "n3")["pending"] == 0, 30, "they are too old")
        dirty = {node.name: kept(node, "n3")["dirty"] for node in cluster.nodes[:2]}
        assert all(dirty.values()), dirty
        # With another number of shards everything that is kept becomes dirty ranges.
        write(cluster[1], range(1_000, 1_300))
        cluster[1].stop()
        cluster[1].arguments[-1] = 3
        cluster[1].start()
        listed = kept(cluster[1], "n3")
        assert listed["pending"] == 0 and listed["dirty"] >= dirty["n2"]
        cluster[2].start()
        all_settled(cluster)
    finally:
        cluster.stop()


def test_hints_that_are_dropped_are_settled_by_a_round(cluster):
    write(cluster[0], range(10))
    all_settled(cluster)
    down(cluster, 2)
    write(cluster[0], range(500))
    before = kept(cluster[0], "n3")
    refused = quorate("hints", "drop", "n3", "--address", address(cluster[0]), input="n\n")
    assert refused.returncode == 1 and kept(cluster[0], "n3") == before
    dropped = quorate("hints", "drop", "n3", "--yes", "--address", address(cluster[0]))
    assert dropped.returncode == 0 and f"{before['pending']} hints" in dropped.stdout
    after = kept(cluster[0], "n3")
    assert after["pending"] == 0 and after["dirty"] > 0
    cluster[2].start()
    all_settled(cluster)
    assert redis.Redis(port=cluster[2].port).mget([f"key{n}" for n in range(500)]) == [b"v" * 100] * 500


def test_a_repair_of_a_range_compares_that_range_alone(cluster):
    write(cluster[0], range(100))
    all_settled(cluster)
    connection = cluster[0].raw()
    whole = quorate("repair", "--node", address(cluster[0]), "--dry-run")
    part = quorate("repair", "--node", address(cluster[0]), "--dry-run", "--range", "300-400")
    assert whole.returncode == part.returncode == 0, whole.stderr + part.stderr
    cost = lambda output: [int(line.split()[-2]) for line in output.stdout.splitlines()]
    groups = 16_384 // SLOTS_PER_GROUP
    assert [bytes * groups for bytes in cost(part)] == cost(whole)
    done = quorate("repair", "--node", address(cluster[0]), "--range", "0-511")
    assert done.returncode == 0 and done.stdout.count("done") == 2
    for wrong in ("5-4", "0-16384", "x"):
        assert quorate("repair", "--range", wrong).returncode == 2
    reply = connection("QUORATE", "REPAIR", "START", "RANGE", "9", "8")
    assert reply[0] == b"-" and b"behind" in reply[1]


@pytest.mark.parametrize("words", [("DRAIN", "nobody"), ("DROP",), ("DROP", "nobody"), ("LIST", "x"), ("WHAT",)])
def test_orders_that_make_no_sense_are_refused(shared_cluster, words):
    kind, text = shared_cluster[0].raw()("QUORATE", "HINTS", *words)
    assert kind == b"-" and text.startswith(b"ERR")


def test_doubts_are_shown(cluster):
    status = cluster[0].status()
    assert (status["incomplete"], status["clock_in_doubt"]) == (0, 0)
    info = redis.Redis(port=cluster[0].port).info("quorate")
    assert (info["incomplete"], info["clock_in_doubt"]) == (0, 0)
    assert redis.Redis(port=cluster[0].port).set("k", "v")
    all_settled(cluster)
    # A node that has lost its data is incomplete until it has met everybody.
    cluster[1].kill()
    cluster[2].kill()
    for log in (cluster[2].directory / "data").glob("log-*/*"):
        log.unlink()
    cluster[2].start()
    assert cluster[2].status()["incomplete"] == 1
    assert "data that was lost" in quorate("status", "--address", address(cluster[2])).stdout
    cluster[1].start()
    wait_until(lambda: cluster[2].status()["incomplete"] == 0, 60, "everything has come back")
