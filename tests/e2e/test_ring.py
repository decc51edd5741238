"""A ring of tokens, as Dynomite has it: keys lie where its rules say, also while members come and go."""

import subprocess

import redis
from nodes import QUORATE, START_SECONDS, Cluster, Node, fields, wait_until
from test_movement import MOVED_SECONDS, at_rest

TOKENS = {"n1": ("r1", 1383429731), "n2": ("r1", 3530913378), "n3": ("r2", 101134286)}
NEWCOMER = ("r1", 2147483648)
CUTS = [token for _, token in [*TOKENS.values(), NEWCOMER]]
RING = ["--partitioner", "ring", "--hash", "fnv1a_32", "--hash-tag", "<>", "--ring-tokens", ",".join(map(str, CUTS))]
KEYS = [f"key:{number}" for number in range(120)] + ["user:<7>:name", "user:<7>:mail", "<open", "{7}"]


def token_of(key):
    """What stands in the tag, or the whole, by FNV-1a of 32 bits."""
    begin = key.find("<")
    end = key.find(">", begin + 1)
    hashed = key[begin + 1:end] if 0 <= begin < end else key
    value = 0x811C9DC5
    for byte in hashed.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def owners(key, members):
    """In each rack the member with the smallest token that is not below the key's, or else the lowest."""
    found = []
    for rack in {rack for rack, _ in members.values()}:
        ring = sorted((token, name) for name, (place, token) in members.items() if place == rack)
        found.append(next((name for token, name in ring if token >= token_of(key)), ring[0][1]))
    return sorted(found)


def located(node):
    connection = node.raw()
    try:
        return {key: fields(connection("QUORATE", "LOCATE", key)) for key in KEYS}
    finally:
        connection.close()


def lie_as_in(node, members):
    found = located(node)
    return all(sorted(found[key]["replicas"]) == owners(key, members) for key in KEYS)


def quorate(*words, code=0):
    found = subprocess.run([QUORATE, *words], capture_output=True, text=True, timeout=60)
    assert found.returncode == code, (words, found.stdout, found.stderr)
    return found.stdout + found.stderr


def make(tmp_path):
    cluster = Cluster(tmp_path)
    for node in cluster.nodes:
        rack, token = TOKENS[node.name]
        node.arguments = ["--rack", rack, "--rf", "2", *RING, "--tokens", str(token)]
    return cluster


def test_keys_lie_as_dynomite_has_them_while_members_come_and_go(tmp_path):
    cluster = make(tmp_path)
    others = []
    try:
        cluster.start()
        clients = [redis.Redis(port=node.port, decode_responses=True) for node in cluster.nodes]
        for number, key in enumerate(KEYS):
            assert clients[number % 3].set(key, f"v{number}")
        assert all(found["token"] == token_of(key) for key, found in located(cluster[0]).items())
        assert all(lie_as_in(node, TOKENS) for node in cluster.nodes)

        # Commands over keys in several slots, and over all of them.
        assert clients[1].mget(KEYS) == [f"v{number}" for number in range(len(KEYS))]
        assert clients[2].mset({"m:1": "a", "m:2": "b"}) and clients[0].delete("m:1", "m:2", "m:3") == 2
        assert clients[0].sadd("s:1", "a", "b") == 2 and clients[1].sadd("s:2", "b", "c") == 2
        assert clients[2].sunionstore("s:3", "s:1", "s:2") == 3 and clients[0].rename("s:3", "s:4")
        assert clients[1].smembers("s:4") == {"a", "b", "c"}
        assert clients[2].delete("s:1", "s:2", "s:4") == 3
        assert clients[0].transaction(lambda pipe: pipe.append("user:<7>:name", "!").get("user:<7>:mail"))
        assert sorted(clients[1].scan_iter(count=7)) == sorted(KEYS) and clients[2].dbsize() == len(KEYS)
        assert clients[0].memory_usage("key:1") > 0
        slot = located(cluster[0])["key:1"]["slot"]
        assert clients[0].execute_command("CLUSTER", "KEYSLOT", "key:1") == slot
        shown = quorate("hash", "key:1", "--address", f"127.0.0.1:{cluster[1].port}").splitlines()[1].split()
        assert shown[:3] == ["key:1", str(slot), str(token_of("key:1"))]

        # Who takes keys for elsewhere has nothing to say here.
        seeds = [f"127.0.0.1:{cluster[0].peer_port}"]
        stranger = Node(tmp_path / "n9", "n9", seeds, ["--rf", "2", "--join"]).launch()
        others.append(stranger)
        wait_until(lambda: "the partitioner is ring, hash fnv1a_32, hash tag <>, 4 ring tokens" in stranger.log(),
                   START_SECONDS, "a node without a ring is told so")

        # A newcomer takes what is between its token and the one below.
        rack, token = NEWCOMER
        newcomer = Node(tmp_path / "n4", "n4", seeds, ["--rack", rack, "--rf", "2", *RING, "--tokens", str(token), "--join"])
        others.append(newcomer.launch())
        address = ["--address", f"127.0.0.1:{cluster[0].port}"]
        wait_until(lambda: "n4" in quorate("topology", *address), START_SECONDS, "it is known to wait")
        quorate("join", "n4", *address)
        grown = {**TOKENS, "n4": NEWCOMER}
        assert any("n4" in owners(key, grown) for key in KEYS)
        members = [*cluster.nodes, newcomer]
        wait_until(lambda: at_rest(members, sorted(grown)), MOVED_SECONDS, "slots have moved")
        assert all(lie_as_in(node, grown) for node in members)
        asked = redis.Redis(port=newcomer.port, decode_responses=True)
        values = [f"v{number}" for number in range(len(KEYS))]
        values[KEYS.index("user:<7>:name")] += "!"
        assert asked.mget(KEYS) == values
        drawn = {line.split()[0]: line.split() for line in quorate("ring", *address).splitlines()[2:]}
        assert sorted(drawn) == ["n1", "n2", "n3", "n4"]
        assert drawn["n3"][3:5] == ["16384", "100.00"] and drawn["n4"][4] == "17.79" and drawn["n4"][-1] == "2147483648"

        quorate("leave", "n4", *address)
        wait_until(lambda: at_rest(cluster.nodes, sorted(TOKENS)), MOVED_SECONDS, "they have moved back")
        assert all(lie_as_in(node, TOKENS) for node in cluster.nodes)
        assert clients[2].mget(KEYS) == values

        # There are no weights but those of a witness and of everybody else.
        refused = quorate("weight", "n2", "50", *address, code=1)
        assert "on a ring of tokens what a node holds follows from its tokens" in refused, refused
        quorate("weight", "n2", "0", *address)
        wait_until(lambda: at_rest(cluster.nodes, sorted(TOKENS)), MOVED_SECONDS, "it holds nothing")
        left = {name: place for name, place in TOKENS.items() if name != "n2"}
        assert all(lie_as_in(node, left) for node in cluster.nodes)
        assert clients[1].mget(KEYS) == values
    finally:
        cluster.stop()
        for node in others:
            node.kill()


def test_what_the_ring_was_made_with_stays(tmp_path):
    cluster = make(tmp_path)
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        client.set("key", "value")
        cluster.meet()
        held = cluster[0].arguments
        cluster[0].kill()
        for change, reason in [
            (["--hash", "murmur"], "the cluster was made with ring, hash fnv1a_32"),
            (["--tokens", "3530913378"], "tokens say 3530913378, but this node joined with 1383429731"),
            (["--tokens", "5"], "token 5 of node \"this node\" is inside a slot"),
            (["--partitioner", "slots"], "only with partitioner: ring"),
        ]:
            replaced = [word for at, word in enumerate(held)
                        if word != change[0] and (at == 0 or held[at - 1] != change[0])]
            cluster[0].arguments = [*replaced, *change]
            refused = subprocess.run(cluster[0].command(), capture_output=True, text=True, timeout=60)
            assert refused.returncode != 0 and reason in refused.stderr + refused.stdout, (change, refused)
        cluster[0].arguments = held
        cluster[0].start()
        wait_until(lambda: redis.Redis(port=cluster[0].port).get("key") == b"value", START_SECONDS, "it serves again")
    finally:
        cluster.stop()


def test_a_ring_is_drawn_and_asked_without_a_cluster(tmp_path):
    path = tmp_path / "seeds"
    path.write_text("# of a Dynomite\n- 10.0.0.1:8101:r1:dc:0\n- 10.0.0.2:8101:r1:dc:2147483648\n"
                    "- 10.0.0.3:8101:r2:dc:7\n")
    drawn = quorate("ring", "--tokens", str(path)).splitlines()
    assert [line.split()[0] for line in drawn[1:4]] == ["10.0.0.1:8101", "10.0.0.2:8101", "10.0.0.3:8101"]
    assert [line.split()[4] for line in drawn[1:4]] == ["50.00", "50.00", "100.00"]
    assert drawn[-1] == "ring_tokens: 0,7,2147483648"
    # Where a built Dynomite had them.
    lines = quorate("hash", "a", "foo", "--hash", "murmur", "--tokens", str(path)).splitlines()[1:]
    assert [line.split()[2] for line in lines] == ["1262581116", "3303027599"]
    assert [set(line.replace(",", "").split()[3:]) for line in lines] == [
        {"10.0.0.2:8101", "10.0.0.3:8101"}, {"10.0.0.1:8101", "10.0.0.3:8101"}]
    path.write_text("10.0.0.1:8101:r1:dc\n")
    assert "line 1" in quorate("ring", "--tokens", str(path), code=1)
