"""The page and the notebook of the documentation."""
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_pytorch_example():
    torch = pytest.importorskip("torch")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.S)
    (example,) = [block for block in blocks if "class Recall" in block]
    names = {}
    exec(example, names)
    with torch.no_grad():
        x, wanted = names["episodes"](1000)
        right = ((names["model"](x) > 0) == (wanted > 0.5)).float().mean()
    assert right > 0.6, f"{right}: it has learned nothing"


def test_the_notebook():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(DOCS / "python.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = ["".join(output.data["text/html"]) for output in shown if "text/html" in output.get("data", {})]
    assert any("equations" in page for page in pages) and any("<svg" in page for page in pages)
    assert any("did you mean `tanh`" in output.get("text", "") for output in shown)
