"""The layers of pymigrate: who may import whom, and what; no I/O in the core; sizes."""

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "pymigrate").rglob("*.py"))

BASE = frozenset({"records", "units", "errors", "nodemask", "uapi", "version"})
ENGINE = BASE | {"mm", "syscalls"}
OUTER = ENGINE | {
    "reading",
    "tools",
    "views",
    "arguments",
    "interface",
    "claims",
    "scenario",
    "store",
}
# Layer (the first name below `pymigrate`) -> the layers that it may import besides itself.
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    "mm": BASE,
    "reading": frozenset({"records"}),
    "syscalls": BASE | {"mm"},
    "views": ENGINE,
    "tools": ENGINE | {"views"},
    "arguments": ENGINE | {"tools", "views"},
    "interface": ENGINE | {"tools", "views", "arguments"},
    "claims": ENGINE | {"views", "arguments"},
    "scenario": ENGINE | {"reading", "tools", "interface", "arguments", "claims"},
    "store": ENGINE | {"reading"},
    "plan": OUTER - {"scenario"},
    "comparison": (OUTER - {"store"}) | {"plan"},
    "report": OUTER | {"plan", "comparison"},
    "holder": BASE,
    "stand_ins": frozenset({"records"}),
    "session": OUTER | {"holder", "stand_ins"},
    "native": OUTER | {"session", "holder"},
    "cli": OUTER | {"session", "stand_ins", "capture", "native", "plan", "comparison", "report"},
    "capture": ENGINE
    | {"reading", "views", "scenario"},  # what others use is what a boot leaves free
    "api": OUTER | {"session", "holder", "plan", "comparison"},
    "pytest_plugin": frozenset({"api", "errors", "records"}),
    "__init__": frozenset({"version", "api", "errors"}),  # but for the version when asked for
    "__main__": frozenset({"cli"}),
}
# A step `numa_maps` records the rows of that view, `exec` a program's output, any step the trace.
EXCEPTIONS = {
    "pymigrate.scenario.spec.runner": {"views"},
    "pymigrate.scenario.steps.looks": {"views"},
}

# Folder -> its layers from the lowest up; a module imports only those listed before its own.
# What stands beside the layers is a module of that name.
LAYERS = {
    "pymigrate.mm": """
        base state frames check spaces engine compact reclaim balance faults calls offline clock
    """.split(),
    "pymigrate.scenario": """
        text record spec steps read boot
    """.split(),
    "pymigrate.claims": "parse sources judge".split(),
    "pymigrate.comparison": "variants outcome table sweep done".split(),
    "pymigrate.views": "columns entries pages proc sysfs told why pictures tree".split(),
    "pymigrate.native": """
        x86_64 arm64 abi hostmem support libc auxv seccomp sync tracee remake objects world calls
        vdso report tracer lender start
    """.split(),
    "pymigrate.native.calls": """
        private reads writes overlay walk paths truncate huge files cgroups memory shm numa system
        table
    """.split(),
    "pymigrate.cli": """
        terminal own_folder examples help helped shim_files host shim common junit
        render waiting picture asked call program bad_pages declared tree_writer main roff commands
    """.split(),
}
MAX_MODULES = 20  # in a folder, but for that of the commands

# Library -> the layers, or the one module, that may import it.
LIBRARIES = {
    "pytest": {"pytest_plugin"},
    "click": {"cli"},
    "jinja2": {"pymigrate.report.report"},
    "rich": {"pymigrate.cli.render"},
    "platformdirs": {"cli", "session"},
    "pydantic": {"scenario"},
    "pydantic_core": {"scenario"},
    "yaml": {"scenario", "pymigrate.comparison.variants"},
}

PURE = {"mm", "syscalls", "tools", "views"}
IMPURE_MODULES = set(
    """
    asyncio ctypes datetime glob http io logging mmap multiprocessing os pathlib pickle secrets
    select shutil signal socket sqlite3 subprocess sys tempfile threading time urllib
    """.split()
)
PURE_RANDOM = {"random", "random.Random"}
IMPURE_CALLS = {"open", "print", "input", "breakpoint", "exec", "eval", "__import__"}

MAX_FUNCTION = 60
MAX_FILE = 600


def module_name(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def layer_of(module: str) -> str:
    """The first name below `pymigrate`; the package itself counts as `__init__`."""
    return [*module.split("."), "__init__"][1]


def imports(module: str, tree: ast.AST, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported; of `from a import b` it is `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            up = node.level - is_package
            base = module.split(".")[:-up] if up > 0 else module.split(".")
            prefix = ".".join(base) if node.level else ""
            source = ".".join(filter(None, (prefix, node.module)))
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def wrong_arrows(module: str, tree: ast.AST, *, is_package: bool = False) -> list[str]:
    """The imports of a layer of our own that *module* may not know."""
    own = layer_of(module)
    allowed = MAY_IMPORT[own] | EXCEPTIONS.get(module, set()) | {own}
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(module, tree, is_package=is_package)
        if name.split(".")[0] == "pymigrate" and layer_of(name) not in allowed
    ]


def foreign_libraries(module: str, tree: ast.AST) -> list[str]:
    """The imports of libraries that *module* may not use, at any depth of the code."""
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(module, tree)
        if (library := name.split(".")[0]) not in sys.stdlib_module_names | {"pymigrate"}
        and not LIBRARIES.get(library, set()) & {module, layer_of(module)}
    ]


def impurities(module: str, tree: ast.AST) -> list[str]:
    """What *module* has of I/O, clocks and the random numbers that all share."""
    found = []
    for line, name in imports(module, tree):
        library = name.split(".")[0]
        if library in IMPURE_MODULES or (library == "random" and name not in PURE_RANDOM):
            found.append(f"{module}:{line} imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in IMPURE_CALLS:
                found.append(f"{module}:{node.lineno} calls {node.func.id}()")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if node.value.id == "random" and name not in PURE_RANDOM:
                found.append(f"{module}:{node.lineno} uses {name}")
    return found


def long_functions(module: str, tree: ast.AST) -> list[str]:
    """The functions of more than MAX_FUNCTION lines, docstring and all."""
    return [
        f"{module}:{node.lineno} {node.name}() has {nr} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (nr := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION
    ]


def upward_arrows(module: str, tree: ast.AST) -> list[str]:
    """The imports of what lies above *module* in the same folder, by LAYERS."""
    found = []
    for folder, layers in LAYERS.items():
        if not module.startswith(f"{folder}."):
            continue
        own = layers.index(below(folder, module))
        for line, name in imports(module, tree):
            if name.startswith(f"{folder}.") and layers.index(below(folder, name)) > own:
                found.append(f"{module}:{line} imports {name}")
    return found


def below(folder: str, name: str) -> str:
    """What comes after *folder* in a dotted name."""
    return name.removeprefix(f"{folder}.").partition(".")[0]


def private_imports(module: str, tree: ast.AST) -> list[str]:
    """The imports of names of ours that begin with an underscore, and are another file's own."""
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(module, tree)
        if name.startswith("pymigrate.")
        and name.rpartition(".")[2].startswith("_")
        and not name.endswith("__")
    ]


def inner_imports(module: str, tree: ast.AST) -> list[str]:
    """The imports inside functions."""
    return [
        f"{module}:{node.lineno}"
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def circles(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """A way round each circle of *graph*: what imports what, back to where it began."""
    found: list[str] = []
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            found.append(" -> ".join([*way[way.index(name) :], name]))
        elif name not in done:
            for other in graph[name]:
                visit(other, [*way, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


@cache
def parsed() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (module_name(path), ast.parse(path.read_text(encoding="utf-8"))) for path in MODULES
    )


def import_graph() -> dict[str, set[str]]:
    """Each module of the package, with the modules of it that are imported, wherever that is."""
    names = {name.removesuffix(".__init__") for name, _ in parsed()}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, tree in parsed():
        for _, full in imports(name, tree, is_package=name == "pymigrate.__init__"):
            while full and full not in names:
                full = full.rpartition(".")[0]
            if full and full != name.removesuffix(".__init__"):
                graph[name.removesuffix(".__init__")].add(full)
    return graph


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer_of(name) for name, _ in parsed()} <= set(MAY_IMPORT)


def test_imports_point_one_way() -> None:
    found = []
    for (name, tree), path in zip(parsed(), MODULES, strict=True):
        found += wrong_arrows(name, tree, is_package=path.name == "__init__.py")
        found += upward_arrows(name, tree)
    assert found == []


def test_every_module_of_a_layered_folder_has_its_layer() -> None:
    for folder, layers in LAYERS.items():
        below_it = {below(folder, name) for name, _ in parsed() if name.startswith(f"{folder}.")}
        assert below_it == set(layers), folder


def test_nothing_is_imported_in_a_circle() -> None:
    assert circles(import_graph()) == []


def test_what_is_private_stays_in_its_file() -> None:
    assert [text for name, tree in parsed() for text in private_imports(name, tree)] == []


def test_core_imports_nothing_inside_functions() -> None:
    found = [
        text
        for name, tree in parsed()
        if layer_of(name) == "mm"
        for text in inner_imports(name, tree)
    ]
    assert found == []


def test_no_folder_is_too_full() -> None:
    sizes = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    del sizes[ROOT / "pymigrate/cli/commands"]
    assert {str(folder): nr for folder, nr in sizes.items() if nr > MAX_MODULES} == {}


def test_libraries_are_imported_only_where_they_belong() -> None:
    assert [text for name, tree in parsed() for text in foreign_libraries(name, tree)] == []


def test_other_processes_are_reached_in_one_module_alone() -> None:
    users = {
        name
        for name, tree in parsed()
        for _, full in imports(name, tree)
        if full.split(".")[0] == "ctypes"
    }
    assert users == {"pymigrate.native.libc"}


def test_core_has_no_io() -> None:
    found = [
        text for name, tree in parsed() if layer_of(name) in PURE for text in impurities(name, tree)
    ]
    assert found == []


def test_no_function_is_too_long() -> None:
    assert [text for name, tree in parsed() for text in long_functions(name, tree)] == []


def test_no_file_is_too_long() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {module_name(path): nr for path, nr in sizes.items() if nr > MAX_FILE} == {}


@pytest.mark.parametrize(
    ("module", "source", "is_wrong"),
    [
        pytest.param("mm.engine.migrate", "import pymigrate.syscalls.mmap", True, id="upwards"),
        pytest.param("mm.engine.migrate", "from pymigrate import views", True, id="from package"),
        pytest.param("mm.engine.migrate", "from ...store import codec", True, id="relative"),
        pytest.param("mm.engine.migrate", "from ..base.pte import PteRun", False, id="same layer"),
        pytest.param("mm.engine.migrate", "from ...units import PAGE_SIZE", False, id="downwards"),
        pytest.param("views.proc.numa_maps", "import pymigrate.store", True, id="sideways"),
        pytest.param("scenario.spec.runner", "import pymigrate.views", False, id="exception"),
        pytest.param("scenario.read.loader", "import pymigrate.views", True, id="no exception"),
        pytest.param("tools.getopt", "import pymigrate.store", True, id="apart"),
        pytest.param("views.ps", "def f():\n    import pymigrate.cli", True, id="in a function"),
        pytest.param("cli.main", "from pymigrate.version import __version__", False, id="version"),
        pytest.param("mm.mm", "import click", True, id="library in the core"),
        pytest.param("cli.main", "import click", False, id="click in cli"),
        pytest.param("cli.main", "import rich.table", True, id="rich beside render.py"),
        pytest.param("cli.render", "import rich.table", False, id="rich in render.py"),
        pytest.param("session", "import platformdirs", False, id="platformdirs"),
        pytest.param("cli.main", "import numpy", True, id="library of nobody"),
        pytest.param("mm.mm", "import collections.abc", False, id="standard library"),
    ],
)
def test_arrows_and_libraries_are_told_apart(module: str, source: str, is_wrong: bool) -> None:
    name, tree = f"pymigrate.{module}", ast.parse(source)
    assert bool(wrong_arrows(name, tree) + foreign_libraries(name, tree)) is is_wrong


@pytest.mark.parametrize(
    ("source", "is_impure"),
    [
        pytest.param("import os.path", True, id="os"),
        pytest.param("from time import monotonic", True, id="clock"),
        pytest.param("from random import randrange", True, id="shared generator"),
        pytest.param("import random\nx = random.random()", True, id="shared generator by name"),
        pytest.param("import random\nx = random.Random(7)", False, id="generator of its own"),
        pytest.param("from random import Random", False, id="class of generators"),
        pytest.param("print(1)", True, id="print"),
        pytest.param("from pymigrate.mm import mmap", False, id="module of ours named alike"),
    ],
)
def test_impurities_are_found(source: str, is_impure: bool) -> None:
    assert bool(impurities("pymigrate.mm.machine", ast.parse(source))) is is_impure


@pytest.mark.parametrize(("nr", "is_long"), [(60, False), (61, True)])
def test_lines_of_a_function_are_counted_with_its_head(nr: int, is_long: bool) -> None:
    tree = ast.parse("def f():\n" + "    pass\n" * (nr - 1))
    assert bool(long_functions("pymigrate.mm.mm", tree)) is is_long


@pytest.mark.parametrize(
    ("module", "source", "is_wrong"),
    [
        pytest.param("mm.base.pte", "from pymigrate.mm.state import machine", True, id="up"),
        pytest.param("mm.calls.fork", "from pymigrate.mm.base.pte import Pte", False, id="down"),
        pytest.param("mm.calls.fork", "from pymigrate.mm.calls.gup import pin", False, id="beside"),
        pytest.param(
            "mm.base.pte",
            "if TYPE_CHECKING:\n    from pymigrate.mm.state.machine import Machine",
            True,
            id="for types",
        ),
        pytest.param("views.proc.maps", "import pymigrate.views.told.trace", True, id="views"),
    ],
)
def test_arrows_up_the_layers_are_found(module: str, source: str, is_wrong: bool) -> None:
    assert bool(upward_arrows(f"pymigrate.{module}", ast.parse(source))) is is_wrong


def test_circles_are_found() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}
    assert circles(graph) == ["b -> c -> b"]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_private_and_inner_imports_are_found() -> None:
    tree = ast.parse("def f():\n    from pymigrate.mm.base.pte import _x\n")
    assert private_imports("pymigrate.mm.mm", tree) == [
        "pymigrate.mm.mm:2 imports pymigrate.mm.base.pte._x"
    ]
    assert inner_imports("pymigrate.mm.mm", tree) == ["pymigrate.mm.mm:2"]
