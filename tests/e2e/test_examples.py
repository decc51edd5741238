"""The examples for clients, run as a reader of the book runs them."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent

QUESTIONS = {
    "in what order do documents come that score alike": "search: What is promised",
    "what happens when a query takes longer than its timeout": "search: Bounds",
    "completion of words with suggestions": "search: What there is",
}


@pytest.mark.parametrize("nodes", ["one-node", "three-nodes"])
def test_a_question_finds_its_passage(request, nodes):
    node = request.getfixturevalue("node") if nodes == "one-node" else request.getfixturevalue("cluster")[1]
    texts = [str(ROOT / "docs" / "src" / f"{name}.md") for name in ("search", "consistency", "operations", "glossary")]
    command = [sys.executable, str(ROOT / "examples" / "retrieval.py"), "--port", str(node.port), *texts, "--", *QUESTIONS]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert int(lines[0].split()[0]) > 10
    found = {}
    for line in lines[1:]:
        if line.startswith("  "):
            found[question].append(line.strip())
        else:
            question = line
            found[question] = []
    for question, title in QUESTIONS.items():
        assert len(found[question]) == 3 and title in found[question], (question, found[question])
