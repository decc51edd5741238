"""Finds the passage that answers a question: words and vectors together, over all nodes.

    pip install redis numpy
    python examples/retrieval.py --port 6379 docs/src/*.md -- "how long are tombstones kept"

The texts are cut into passages at their headings. A passage is a hash with its text and a vector of 256 numbers: how often
each run of three letters occurs in it, weighed by how rare that is, and hashed into so many places. That is no model of a
language, but it needs none, finds words in other forms, and shows where a better one belongs: `Vectors.of`.
"""

import argparse
import math
import pathlib
import re
import sys
import zlib

import numpy
import redis

INDEX, PREFIX, DIMENSIONS = "passages", "passage:", 256


def passages(path):
    """The parts of a text between its headings, with these."""
    heading, lines = path.stem, []
    for line in [*path.read_text().splitlines(), "# "]:
        if line.startswith("#"):
            text = " ".join(lines).strip()
            if text:
                yield f"{path.stem}: {heading}", text
            heading, lines = line.strip("# "), []
        else:
            lines.append(line)


class Vectors:
    """Vectors of texts, by letters that stand together."""

    def __init__(self, texts):
        seen = {}
        for text in texts:
            for run in set(self.runs(text)):
                seen[run] = seen.get(run, 0) + 1
        self.rarity = {run: math.log(len(texts) / count) for run, count in seen.items()}

    @staticmethod
    def runs(text):
        for word in re.findall(r"\w+", text.lower()):
            word = f" {word} "
            yield from (word[at:at + 3] for at in range(len(word) - 2))

    def of(self, text):
        vector = numpy.zeros(DIMENSIONS, dtype=numpy.float32)
        for run in self.runs(text):
            code = zlib.crc32(run.encode())
            vector[code % DIMENSIONS] += self.rarity.get(run, 0) * (1 if code >> 16 & 1 else -1)
        length = numpy.linalg.norm(vector)
        return (vector / length if length else vector + 1 / DIMENSIONS ** 0.5).tobytes()


def store(client, found, vectors):
    try:
        client.execute_command("FT.DROPINDEX", INDEX, "DD")
    except redis.ResponseError:
        pass
    client.execute_command(
        "FT.CREATE", INDEX, "ON", "HASH", "PREFIX", 1, PREFIX, "SCHEMA", "title", "TEXT", "WEIGHT", 3, "text", "TEXT",
        "vector", "VECTOR", "HNSW", 6, "TYPE", "FLOAT32", "DIM", DIMENSIONS, "DISTANCE_METRIC", "COSINE")
    pipe = client.pipeline(transaction=False)
    for number, (title, text) in enumerate(found):
        vector = vectors.of(f"{title} {text}")
        pipe.hset(f"{PREFIX}{number}", mapping={"title": title, "text": text, "vector": vector})
    pipe.execute()


def answer(client, vectors, question, count):
    """The passages that fit best: those with rare words of the question, and those whose vectors are near."""
    words = "|".join(re.findall(r"\w+", question.lower()))
    answer = client.execute_command(
        "FT.HYBRID", INDEX, "SEARCH", words, "VSIM", "@vector", "$question", "KNN", 2, "K", 10,
        "COMBINE", "RRF", 2, "WINDOW", 20, "LIMIT", 0, count, "LOAD", 1, "@title", "PARAMS", 2, "question",
        vectors.of(question))
    rows = answer["results"] if isinstance(answer, dict) else answer[answer.index(b"results") + 1]
    rows = [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2])) for row in rows]
    return [row[b"title"].decode() for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--count", type=int, default=3, help="passages of an answer (default 3)")
    parser.add_argument("texts", nargs="+", type=pathlib.Path, help="files with the texts")
    own, questions = sys.argv[1:], []
    if "--" in own:
        own, questions = own[:own.index("--")], own[own.index("--") + 1:]
    arguments = parser.parse_args(own)
    client = redis.Redis(host=arguments.host, port=arguments.port)
    found = [passage for path in arguments.texts for passage in passages(path)]
    vectors = Vectors([f"{title} {text}" for title, text in found])
    store(client, found, vectors)
    print(f"{len(found)} passages")
    for question in questions:
        print(question)
        for title in answer(client, vectors, question, arguments.count):
            print(f"  {title}")


if __name__ == "__main__":
    main()
