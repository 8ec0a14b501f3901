"""The notebook of the docs: each cell is run, and shows what is in the file.

`python tests/unit/api/test_notebook.py` writes into it what its cells show.
"""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[3] / "pymigrate/docs/notebook.ipynb"


def shown(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell; its outputs as notebooks keep them."""
    *body, last = ast.parse(source).body
    is_value = isinstance(last, ast.Expr)
    rest = body if is_value else [*body, last]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(ast.Module(rest, []), "<cell>", "exec"), names)
        value = eval(ast.unparse(last), names) if is_value else None
    outputs: list[dict[str, Any]] = []
    if out.getvalue():
        lines = out.getvalue().splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(keepends=True)
        result = {"output_type": "execute_result", "data": data, "metadata": {}}
        outputs.append({**result, "execution_count": None})
    return outputs


def test_each_cell_shows_what_the_notebook_has() -> None:
    names: dict[str, Any] = {}
    cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 5
    for cell in cells:
        assert shown("".join(cell["source"]), names) == cell["outputs"], cell["source"]


if __name__ == "__main__":
    notebook, names = json.loads(NOTEBOOK.read_text()), dict[str, Any]()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = shown("".join(cell["source"]), names)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
