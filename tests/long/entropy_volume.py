"""Gigabytes through the reconciliation channel: memory, time, and where the time goes.

    cargo build --release -p quorate-cli
    python3 tests/long/entropy_volume.py --quorate target/release/quorate

Two `quorate serve` processes, one loaded with 5 GB by plain clients; `quorate entropy` moves it to the other one,
once in each protocol; every value is then read from the other node and compared. Prints for each process what was
resident before, at most and afterwards, its CPU time, and the rates. Needs about 12 GB of memory and 40 GB of disk
(--dir), and some minutes. `--throughput` measures a file into /dev/null instead, beside `openssl speed`.

How memory of the channel is told apart from memory of the data: the sending node got the same keys and values from
clients, so what it holds after loading is what the data needs; the receiving node's peak is compared with that.
"""

import argparse
import pathlib
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))

from ports import free_port  # noqa: E402

MIB = 1 << 20
POOL = random.Random(1).randbytes(8 * MIB)


def value(number, size):
    """A different one for each key, without making gigabytes of randomness."""
    at = number * 7919 % (len(POOL) - size - 8)
    return number.to_bytes(8, "big") + POOL[at:at + size - 8]


def key(number):
    return b"key-%d" % number


class Process:
    def __init__(self, name, command, log):
        self.name, self.log = name, log
        with open(log, "wb") as file:
            self.popen = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=file)
        self.before = self.peak = 0

    def status(self, field):
        text = pathlib.Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", text)[1]) / 1024

    def resident(self):
        return self.status("VmRSS")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            self.popen.wait(120)


class Sampler:
    """The most that was resident in each process, and its last CPU time, while it lives."""

    def __init__(self, processes):
        self.processes, self.peaks, self.cpus = processes, {}, {}
        self.running = True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def sample(self):
        for process in self.processes:
            try:
                self.peaks[process.name] = max(self.peaks.get(process.name, 0), process.resident())
                self.cpus[process.name] = process.cpu()
            except (OSError, TypeError, IndexError):
                pass

    def run(self):
        while self.running:
            self.sample()
            time.sleep(0.05)

    def stop(self):
        self.running = False
        self.thread.join()
        self.sample()


class Client:
    def __init__(self, port):
        deadline = time.monotonic() + 60
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                assert time.monotonic() < deadline, "the node does not start"
                time.sleep(0.1)
        self.file = self.socket.makefile("rb", MIB)

    def load(self, count, size):
        for start in range(0, count, 100):
            batch = range(start, min(start + 100, count))
            self.socket.sendall(b"".join(
                b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(key(n)), key(n), size, value(n, size))
                for n in batch))
            for _ in batch:
                line = self.file.readline()
                assert line == b"+OK\r\n", line

    def compare(self, count, size):
        for start in range(0, count, 100):
            batch = range(start, min(start + 100, count))
            self.socket.sendall(b"".join(
                b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key(n)), key(n)) for n in batch))
            for number in batch:
                head = self.file.readline()
                assert head == b"$%d\r\n" % size, (number, head)
                assert self.file.read(size + 2)[:-2] == value(number, size), number

    def size(self):
        self.socket.sendall(b"*1\r\n$6\r\nDBSIZE\r\n")
        return int(self.file.readline()[1:])


def node(arguments, directory, name):
    port = free_port()
    command = [arguments.quorate, "serve", "--listen", f"127.0.0.1:{port}", "--peer-listen",
               f"127.0.0.1:{free_port()}", "--cluster-listen", "none", "--data-dir", directory / name, "--name", name]
    process = Process(name, command, directory / f"{name}.log")
    process.port, process.client = port, Client(port)
    return process


def settled(process):
    """What is resident once checkpoints and the like have ended."""
    last = 0
    for _ in range(60):
        now = process.resident()
        if abs(now - last) < 2:
            return now
        last = now
        time.sleep(2)
    return last


def channel(arguments, directory, side, protocol, *words):
    command = [arguments.quorate, "entropy", side, *words, "--key-file", directory / "key", "--iv-file",
               directory / "iv", "--protocol", protocol, "--timeout", "600"]
    return Process(side, command, directory / f"{side}.log")


def transfer(arguments, directory, source, protocol, loaded, count):
    target = node(arguments, directory, f"target-{protocol}")
    time.sleep(1)
    port = free_port()
    receiver = channel(arguments, directory, "receive", protocol, "--listen", f"127.0.0.1:{port}",
                       "--into-store", "--node", f"127.0.0.1:{target.port}")
    time.sleep(1)
    before = {p.name: p.resident() for p in [source, target, receiver]}
    cpu = {p.name: p.cpu() for p in [source, target, receiver]}
    began = time.monotonic()
    parts = ["--part-size", 8 * MIB] if protocol == "classic" else []
    sender = channel(arguments, directory, "send", protocol, "--peer", f"127.0.0.1:{port}", "--from-store",
                     "--node", f"127.0.0.1:{source.port}", *parts)
    before["send"], cpu["send"] = 0, 0
    sampler = Sampler([source, target, receiver, sender])
    assert sender.popen.wait() == 0, sender.log.read_text()
    while protocol == "classic" and target.client.size() < count:
        time.sleep(0.1)
    took = time.monotonic() - began
    sampler.stop()
    said = sender.log.read_text().strip()
    data = count * arguments.value_size
    print(f"\n{protocol}: {said}")
    print(f"  {data / 1e9:.2f} GB of values in {took:.1f} s: {data / 1e6 / took:.0f} MB/s")
    print("  process          resident MiB before    peak   after    CPU s   share")
    total = sum(sampler.cpus[name] - cpu[name] for name in sampler.cpus)
    for process in [source, sender, receiver, target]:
        name = process.name
        spent = sampler.cpus[name] - cpu[name]
        after = settled(process) if process.popen.poll() is None else 0
        print(f"  {name:16} {before[name]:19.0f} {sampler.peaks[name]:7.0f} {after:7.0f} {spent:8.1f} "
              f"{spent / total:6.0%}")
    began = time.monotonic()
    assert target.client.size() == count
    target.client.compare(count, arguments.value_size)
    print(f"  all {count} values are equal (compared in {time.monotonic() - began:.0f} s)")
    grown = {
        "the sending node grew by": sampler.peaks[source.name] - before[source.name],
        "the sender grew to": sampler.peaks["send"],
        "the receiver grew by": sampler.peaks["receive"] - before["receive"],
        "the receiving node's peak beyond its data": sampler.peaks[target.name] - loaded,
    }
    for what, mebibytes in grown.items():
        print(f"  {what}: {mebibytes:.0f} MiB")
    failed = [what for what, mebibytes in grown.items() if mebibytes > 100 and not what.endswith("its data")]
    receiver.stop()
    target.stop()
    shutil.rmtree(directory / target.name)
    assert not failed, failed


def volume(arguments, directory):
    count = int(arguments.gigabytes * 1e9 / arguments.value_size)
    source = node(arguments, directory, "source")
    idle, began = source.resident(), time.monotonic()
    source.client.load(count, arguments.value_size)
    print(f"loaded {count} values of {arguments.value_size} bytes in {time.monotonic() - began:.0f} s")
    loaded = settled(source)
    print(f"the sending node: {idle:.0f} MiB idle, {loaded:.0f} MiB with the data")
    try:
        for protocol in arguments.protocols.split(","):
            transfer(arguments, directory, source, protocol, loaded, count)
    finally:
        source.stop()


def throughput(arguments, directory):
    file = directory / "file"
    with open(file, "wb") as out:
        for _ in range(int(arguments.gigabytes * 1e9 / len(POOL))):
            out.write(POOL)
    size = file.stat().st_size
    rates = {"openssl": [], **{protocol: [] for protocol in arguments.protocols.split(",")}}
    cpus = {protocol: [] for protocol in rates}
    for _ in range(arguments.rounds):
        speed = subprocess.run(["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", "16384", "-evp",
                                "aes-128-cbc"], capture_output=True, text=True, check=True)
        rates["openssl"].append(float(re.search(r"AES-128-CBC\s+([\d.]+)k", speed.stdout)[1]) * 1000)
        for protocol in arguments.protocols.split(","):
            port = free_port()
            receiver = channel(arguments, directory, "receive", protocol, "--listen", f"127.0.0.1:{port}",
                               "--file", "/dev/null")
            while "listening" not in receiver.log.read_text():
                time.sleep(0.02)
            sender = channel(arguments, directory, "send", protocol, "--peer", f"127.0.0.1:{port}", "--file", file)
            sampler = Sampler([receiver, sender])
            assert sender.popen.wait() == 0, sender.log.read_text()
            sampler.stop()
            seconds = float(re.search(r"in ([\d.]+) s;", sender.log.read_text())[1])
            rates[protocol].append(size / seconds)
            cpus[protocol].append(sum(sampler.cpus.values()))
            peak = max(sampler.peaks.values())
            assert peak < 100, f"{peak} MiB resident"
            receiver.stop()
    one_core = statistics.median(rates["openssl"])
    print(f"openssl speed -evp aes-128-cbc, one core: {one_core / 1e9:.2f} GB/s")
    for protocol in arguments.protocols.split(","):
        rate, cpu = statistics.median(rates[protocol]), statistics.median(cpus[protocol])
        print(f"{protocol:8} {rate / 1e9:.2f} GB/s, {rate / one_core:.0%} of it; best {max(rates[protocol]) / 1e9:.2f}; "
              f"CPU of both sides {cpu / size * 1e9:.2f} s/GB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quorate", default="target/release/quorate")
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--value-size", type=int, default=10_240)
    parser.add_argument("--protocols", default="v2,classic")
    parser.add_argument("--dir", default=None, help="where nodes keep their data; needs 40 GB")
    parser.add_argument("--throughput", action="store_true", help="a file into /dev/null instead of nodes")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        directory = pathlib.Path(name)
        for secret in ["key", "iv"]:
            (directory / secret).write_bytes(secret.encode() * 8)
        (throughput if arguments.throughput else volume)(arguments, directory)


if __name__ == "__main__":
    main()
