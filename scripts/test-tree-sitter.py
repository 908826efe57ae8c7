#!/usr/bin/env python3
"""Builds the tree-sitter grammar and tries it on every spec of the tree.

    scripts/test-tree-sitter.py         needs a C compiler and the Python package tree-sitter

Each spec is parsed without an error, each query compiles, every word of the language gets a colour, bodies fold, and names are
found again. A text that is cut off anywhere still gives a tree.
"""
import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tree_sitter
from tree_sitter import Language, Parser, Query, QueryCursor

ROOT = pathlib.Path(__file__).resolve().parent.parent
GRAMMAR = ROOT / "editors/tree-sitter-bpm"


def language():
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "bpm.so"
        compiler = os.environ.get("CC", "cc")
        source = GRAMMAR / "src"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-I", str(source), str(source / "parser.c"), "-o", str(library)], check=True
        )
        found = ctypes.CDLL(str(library)).tree_sitter_bpm
        found.restype = ctypes.c_void_p
        new_capsule = ctypes.pythonapi.PyCapsule_New
        new_capsule.restype = ctypes.py_object
        new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return Language(new_capsule(found(), b"tree_sitter.Language", None))


def errors(node):
    if node.is_error or node.is_missing:
        yield node
    for child in node.children:
        yield from errors(child)


def captures(bpm, query, tree):
    text = (GRAMMAR / "queries" / query).read_text()
    return QueryCursor(Query(bpm, text)).captures(tree.root_node)


def sound(path):
    """Cases of `tests/cases` show mistakes unless their names say otherwise."""
    cases = ROOT / "tests/cases"
    if cases not in path.parents:
        return True
    stage = path.relative_to(cases).parts[0]
    return stage in ("grad", "graph", "opt", "programs") or stage == "check" and path.name.startswith("good_")


def is_generated():
    """The parser in the tree has the rules of `grammar.js`; what they say is compared where the tool is installed."""
    rules = re.findall(r"^    (\w+): \(", (GRAMMAR / "grammar.js").read_text(), re.MULTILINE)
    made = json.loads((GRAMMAR / "src/grammar.json").read_text())["rules"]
    assert rules == list(made), set(rules) ^ set(made)
    tool = shutil.which("tree-sitter")
    if tool:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("grammar.js", "tree-sitter.json"):
                shutil.copy(GRAMMAR / name, folder)
            subprocess.run([tool, "generate", "--abi", "14"], cwd=folder, check=True, capture_output=True)
            new = json.loads((pathlib.Path(folder) / "src/grammar.json").read_text())
        assert new["rules"] == made, "run `tree-sitter generate --abi 14` in editors/tree-sitter-bpm"


def main():
    is_generated()
    bpm = language()
    parser = Parser(bpm)
    specs = [path for top in ("specs", "src/lang/library", "src/cli/templates", "tests/cases") for path in (ROOT / top).rglob("*.bpm")]
    specs = sorted(path for path in specs if sound(path))
    assert len(specs) > 150, len(specs)
    for path in specs:
        tree = parser.parse(path.read_bytes())
        wrong = [(node.start_point[0] + 1, node.text[:40]) for node in errors(tree.root_node)]
        assert not wrong, f"{path}: {wrong[:3]}"

    for query in [*GRAMMAR.glob("queries/**/*.scm"), *ROOT.glob("editors/zed/languages/bpm/*.scm")]:
        Query(bpm, query.read_text())
    assert (GRAMMAR / "queries/highlights.scm").read_text() == (ROOT / "editors/zed/languages/bpm/highlights.scm").read_text()

    text = b"""// A comment.
bpm 1
dim N = 8

network agent {
  input obs: [task.obs]
  state h: [N] = 0, g: [3] = 0 reset trial
  g <- g + 1
  for k in 0 .. 2 { state m[k]: [3] = 0 }
  plastic rec: h -> y using own(bound = 2) { weight w ~ uniform(0, 1e-2) }
  y = -tanh(linear(obs)[0 .. N] + rec.w ^ 2)
  when external reward != 0 { h <- next g }
}

rule own(bound = 1) { trace hebb = 0 per post, cell = 1 }
train a2c { batch = 30, optimizer adam { lr = 1e-4 } }
"""
    tree = parser.parse(text)
    assert not list(errors(tree.root_node)), tree.root_node
    found = captures(bpm, "highlights.scm", tree)
    words = {name: {node.text.decode() for node in nodes} for name, nodes in found.items()}
    for name, wanted in {
        "comment": {"// A comment."},
        "keyword": {"network", "dim", "rule", "plastic", "state", "input", "weight", "trace", "using", "next", "external", "train", "optimizer"},
        "keyword.import": {"bpm"},
        "keyword.repeat": {"for", "in"},
        "keyword.conditional": {"when"},
        "number": {"1", "8", "1e-2", "30", "1e-4"},
        "operator": {"<-", "->", "~", "..", "!=", "^", "-"},
        "type": {"agent", "a2c", "adam"},
        "function": {"own"},
        "function.call": {"uniform", "tanh", "linear"},
        "variable.parameter": {"bound"},
        "property": {"obs", "w", "batch", "lr"},
        "constant.builtin": {"trial", "post"},
        "variable.builtin": {"reward", "task"},
    }.items():
        assert wanted <= words.get(name, set()), (name, wanted - words.get(name, set()))
    assert "g" in words["variable"] and "tanh" not in words["variable"]
    # After a comma, `cell = 1` declares another trace, and `g <- ...` on a line of its own is an update.
    kinds = [node.type for node in tree.root_node.children[3].child_by_field_name("body").children]
    assert kinds.count("declaration") == 2 and kinds.count("update") == 1, kinds

    folds = captures(bpm, "folds.scm", tree)["fold"]
    assert {node.start_point[0] for node in folds} >= {4, 11, 14, 15}
    local = captures(bpm, "locals.scm", tree)
    defined = {node.text.decode() for name, nodes in local.items() if "definition" in name for node in nodes}
    assert defined >= {"N", "own", "bound", "obs", "h", "g", "m", "k", "rec", "w", "y", "hebb", "cell"}, defined
    assert {node.text.decode() for node in local["local.reference"]} >= {"h", "rec", "own"}

    for end in range(0, len(text), 7):
        assert parser.parse(text[:end]).root_node.end_byte >= 0
    print(f"{len(specs)} specs, tree-sitter {getattr(tree_sitter, '__version__', '')}: sound")


if __name__ == "__main__":
    sys.exit(main())
