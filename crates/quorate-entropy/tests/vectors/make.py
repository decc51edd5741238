"""Makes the vectors beside this file: whole streams of both protocols, encrypted by openssl."""

import hashlib
import hmac
import pathlib
import struct
import subprocess

HERE = pathlib.Path(__file__).parent
KEY = b"01234567890123456"  # 17 characters, as in the field: the first 16 count
IV = b"abcdefghijklmnop\n"


def encrypted(plain):
    command = ["openssl", "enc", "-aes-128-cbc", "-K", KEY[:16].hex(), "-iv", IV[:16].hex()]
    return subprocess.run(command, input=plain, check=True, capture_output=True).stdout


def stream(plain, buffer_size, header_size, encrypt):
    cipher_size = min(buffer_size + 1024, 5 << 20)
    out = struct.pack(">5I", 0x64640001, 1, header_size, buffer_size, cipher_size)
    out += struct.pack(">2I", len(plain), int(encrypt)).ljust(header_size, b"\0")
    for start in range(0, len(plain), buffer_size):
        chunk = plain[start:start + buffer_size]
        payload = encrypted(chunk) if encrypt else chunk
        out += struct.pack(">I", len(payload)) + payload
    return out


def block_cipher(key, blocks):
    command = ["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()]
    return subprocess.run(command, input=blocks, check=True, capture_output=True).stdout


def gcm(key, nonce, head, plain):
    """AES-256-GCM out of the block cipher, after NIST SP 800-38D."""
    def multiply(x, y):
        product = 0
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                product ^= y
            y = y >> 1 ^ (0xe1 << 120 if y & 1 else 0)
        return product

    def padded(data):
        return data + b"\0" * (-len(data) % 16)

    count = (len(plain) + 15) // 16
    counters = b"".join(nonce + struct.pack(">I", number) for number in range(1, count + 2))
    stream = block_cipher(key, counters)
    sealed = bytes(a ^ b for a, b in zip(plain, stream[16:]))
    subkey = int.from_bytes(block_cipher(key, bytes(16)), "big")
    data = padded(head) + padded(sealed) + struct.pack(">QQ", len(head) * 8, len(sealed) * 8)
    tag = 0
    for start in range(0, len(data), 16):
        tag = multiply(tag ^ int.from_bytes(data[start:start + 16], "big"), subkey)
    return sealed + bytes(a ^ b for a, b in zip(tag.to_bytes(16, "big"), stream))


def sha256_mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def session_keys(secret, sender, receiver):
    """What both sides of version 2 derive from the secret and their hellos."""
    transcript = hashlib.sha256(sender + receiver).digest()
    extracted = sha256_mac(b"quorate entropy 2", secret)

    def derive(label, length):
        return sha256_mac(extracted, label.encode() + transcript + b"\x01")[:length]

    keys = {}
    for side in ["sender", "receiver"]:
        keys[f"{side} proof"] = sha256_mac(derive(f"{side} proof", 32), transcript)
        keys[f"{side} key"] = derive(f"{side} key", 32)
        keys[f"{side} nonce"] = derive(f"{side} nonce", 12)
    return keys


def sealed_session(plain):
    """Everything that both sides of version 2 say, with nonces that are fixed here."""
    def hello(nonce):
        return struct.pack(">IHHI", 0x64640002, 1, 0, 65536) + nonce

    sender, receiver = hello(bytes(range(32))), hello(bytes(range(100, 132)))
    keys = session_keys(KEY[:16] + IV[:16], sender, receiver)

    def records(side, bodies):
        key, nonce = keys[f"{side} key"], keys[f"{side} nonce"]
        out = b""
        for number, (kind, body) in enumerate(bodies):
            head = struct.pack(">BI", kind, len(body) + 16)
            this = (int.from_bytes(nonce, "big") ^ number).to_bytes(12, "big")
            out += head + gcm(key, this, head, body)
        return out

    total = struct.pack(">Q", len(plain))
    data = [(1, total), (2, plain[:1000]), (2, plain[1000:]), (3, total)]
    forward = sender + keys["sender proof"] + records("sender", data)
    return forward, receiver + keys["receiver proof"] + records("receiver", [(4, total)])


def main():
    plain = bytes(at * 7 % 251 for at in range(70_001))
    (HERE / "key").write_bytes(KEY)
    (HERE / "iv").write_bytes(IV)
    for name, length, buffer_size, header_size, encrypt in [
        ("empty", 0, 16384, 1024, True),
        ("one-byte", 1, 16384, 8, True),
        ("one-block", 16, 16, 8, True),
        ("many-chunks", 3000, 64, 20, True),
        ("default", 70_001, 16384, 1024, True),
        ("plain", 3000, 1000, 1024, False),
    ]:
        (HERE / f"{name}.bin").write_bytes(stream(plain[:length], buffer_size, header_size, encrypt))
    forward, backward = sealed_session(plain[:3000])
    (HERE / "sealed-forward.bin").write_bytes(forward)
    (HERE / "sealed-backward.bin").write_bytes(backward)


if __name__ == "__main__":
    main()
