"""Makes the vectors beside this file: whole streams of the classic protocol, encrypted by openssl."""

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


main()
