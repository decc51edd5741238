"""hnswlib beside Quorate: answers the lines of its standard input, one each, on one thread."""
import json
import os
import sys
import time

import hnswlib
import numpy


def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


dimensions, folder = int(sys.argv[1]), sys.argv[2]


def read(name, kind="<f4", width=dimensions):
    return numpy.fromfile(folder + "/" + name, kind).reshape(-1, width)


index = hnswlib.Index("l2", dimensions)
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "build":
        vectors = read("vectors")
        before, began = resident(), time.process_time()
        index.init_index(len(vectors), M=16, ef_construction=200)
        index.add_items(vectors, num_threads=1)
        answer = {"seconds": time.process_time() - began, "bytes": resident() - before}
    elif command == "replace":
        others = read("others")
        began = time.process_time()
        index.add_items(others, 2 * numpy.arange(len(others)), num_threads=1)
        answer = {"seconds": time.process_time() - began}
    else:
        queries, truth = read("queries"), read("truth", "<u4", 10)
        index.set_ef(int(arguments[0]))
        began = time.process_time()
        labels, _ = index.knn_query(queries, k=10, num_threads=1)
        seconds = time.process_time() - began
        found = sum(len(set(a) & set(b)) for a, b in zip(labels.tolist(), truth.tolist()))
        answer = {"seconds": seconds, "recall": found / truth.size}
    print(json.dumps(answer), flush=True)
