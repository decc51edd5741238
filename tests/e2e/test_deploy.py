"""The examples in `deploy/`, as far as processes on one machine can play pods: same commands, probes, signals, changed addresses."""

import pathlib
import shlex
import subprocess

import pytest
import yaml
from nodes import QUORATE, Process, Raw, wait_until
from ports import free_port

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
BINARY = "/usr/local/bin/quorate"


class Pod(Process):
    """A pod of the StatefulSet: a loopback address of its own, and names from a hosts file of its own."""

    def __init__(self, directory, name, spec, host):
        super().__init__(directory, spec["ports"][0]["containerPort"])
        self.name, self.spec, self.host = name, spec, host
        self.grace = spec["grace"]
        (self.directory / "hosts").touch()

    def expand(self, word):
        word = word.replace("$(POD_NAME)", self.name).replace("0.0.0.0", self.host)
        return word.replace("/data", str(self.directory / "data")).replace(BINARY, QUORATE)

    def command(self):
        words = [self.expand(word) for word in self.spec["command"] + self.spec["args"]]
        script = f"mount --bind '{self.directory / 'hosts'}' /etc/hosts && exec \"$0\" \"$@\""
        return ["unshare", "-rm", "sh", "-c", script, *words]

    def ping(self):
        try:
            return self.raw()("PING")
        except (OSError, EOFError):
            return None

    def raw(self):
        return Raw(self.port, host=self.host)

    def is_ready(self):
        probe = [self.expand(word) for word in self.spec["readinessProbe"]["exec"]["command"]]
        return subprocess.run([*probe, "--address", f"{self.host}:{self.port}"], capture_output=True).returncode == 0


@pytest.fixture
def pods(tmp_path, monkeypatch):
    text = (DEPLOY / "kubernetes.yaml").read_text()
    text = text.replace("16379", str(free_port())).replace("6379", str(free_port()))
    documents = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}
    set_ = documents["StatefulSet", "quorate"]["spec"]
    service = documents["Service", set_["serviceName"]]
    assert service["spec"]["publishNotReadyAddresses"] and service["spec"]["clusterIP"] == "None"
    pod = set_["template"]["spec"]
    monkeypatch.setenv("QUORATE_CLUSTER_SECRET", "of-all-pods-and-nobody-else")
    assert "QUORATE_CLUSTER_SECRET" in [variable["name"] for variable in pod["containers"][0]["env"]]
    spec = pod["containers"][0] | {"grace": pod["terminationGracePeriodSeconds"]}
    pods = [Pod(tmp_path / f"pod-{number}", f"quorate-{number}", spec, f"127.0.0.{11 + number}")
            for number in range(set_["replicas"])]
    yield pods
    for pod in pods:
        pod.kill()


def resolve(pods):
    """What the cluster's name service would tell everybody."""
    names = "".join(f"{pod.host} {pod.name}.quorate-peers\n" for pod in pods)
    for pod in pods:
        # In place: what is mounted is this file.
        (pod.directory / "hosts").write_text("127.0.0.1 localhost\n" + names)


def test_pods_find_each_other_and_one_comes_back_at_another_address(pods):
    first, second, third = pods
    resolve(pods)
    first.start()
    assert not first.is_ready(), "it has not met the others"
    second.start()
    third.start()
    for pod in pods:
        wait_until(pod.is_ready, 30, "the pod is ready")
    assert first.raw()("SET", "k", "v") == (b"+", b"OK")

    third.process.terminate()
    assert third.process.wait(third.grace) == 0
    assert first.raw()("SET", "meanwhile", "w") == (b"+", b"OK")
    third.host = "127.0.0.21"
    resolve(pods)
    third.start()
    wait_until(third.is_ready, 30, "the pod is ready again")
    assert third.raw()("MGET", "k", "meanwhile")[1] == [(b"$", b"v"), (b"$", b"w")]
    second.kill()
    client = first.raw()
    wait_until(lambda: client("SET", "k", "x") == (b"+", b"OK"), 30, "the others have found it there")


def test_the_unit_starts_what_there_is(tmp_path):
    lines = [line.split("=", 1) for line in (DEPLOY / "quorate.service").read_text().splitlines() if "=" in line]
    unit = dict(line for line in lines if not line[0].startswith("#"))
    assert unit["KillSignal"] == "SIGTERM"
    (tmp_path / "quorate.yaml").write_text(f"listen: 127.0.0.1:{free_port()}\ndata_dir: {tmp_path / 'data'}\n")
    name, path = unit["LoadCredential"].split(":")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / name).write_text("of-all-nodes-and-nobody-else\n")
    for key in ("ExecStartPre", "ExecStart"):
        words = unit[key].replace(path, "").replace("%d", str(credentials))
        words = shlex.split(words.replace("/etc/quorate", str(tmp_path)).replace(BINARY, QUORATE))
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        if key == "ExecStart":
            wait_until(lambda: (tmp_path / "data" / "node.json").exists(), 20, "it runs")
            process.terminate()
        assert process.wait(int(unit["TimeoutStopSec"])) == 0
