"""The house rules, read off the source: floors, one home per library, size, docstrings, no pickle."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted((ROOT / "podarcade").rglob("*.py"))

# Eight floors, top to bottom: a file imports from lower floors, or from its own room; the ground floor is one room.
FLOORS = [
    {
        "__main__",
        "launch",
        "compare",
        "sweep",
        "search",
        "evaluate",
        "diagnose",
        "report",
        "leaderboard",
        "export",
        "follow",
        "gallery",
        "doctor",
        "probe",
    },
    {"agents", "build", "presets", "popgym_arcade", "reporting", "sweeps"},
    {"configuration"},
    {"runtime"},
    {"anakin", "diagnostics"},
    {"algorithms"},
    {"envs", "models"},
    {"actions", "types", "plugins", "ranges", "tracebacks"},
]
ROOMS = {
    "agents",
    "configuration",
    "diagnostics",
    "envs",
    "models",
    "algorithms",
    "anakin",
    "runtime",
    "reporting",
    "sweeps",
}
GAMES_TOWER = {"envs"}
LEARNING_TOWER = {"models", "algorithms"}
HOMES = {
    "orbax": {"runtime.checkpoint", "runtime.stored"},
    "tensorboardX": {"runtime.tensorboard"},
    "ml_collections": {"configuration", "runtime.run_files"},
    "absl": {
        "configuration",
        "launch",
        "compare",
        "sweep",
        "evaluate",
        "diagnose",
        "report",
        "leaderboard",
        "export",
        "follow",
        "gallery",
        "doctor",
        "probe",
        "search",
        "sweeps.jobs",
    },
    "rich": {"runtime.console", "sweeps.progress"},
    "PIL": {"reporting.clips"},
    "matplotlib": {"reporting.figures", "reporting.report.drawing"},
    "scipy": {"reporting.statistics"},
    "gymnasium": {"envs.adapters"},
    "gymnax": {"envs.gymnax_tasks"},
    "optax": {"algorithms", "anakin.update", "anakin.finite", "diagnostics.readout"},
    "flax.linen": {"models"},
}
COLLECTIVES = {
    "psum",
    "pmean",
    "pmax",
    "pmin",
    "all_gather",
    "axis_index",
    "shard_map",
    "pcast",
    "make_mesh",
    "ppermute",
}


def name_of(path):
    """podarcade/anakin/loop.py -> anakin.loop"""
    parts = path.relative_to(ROOT / "podarcade").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """Dotted names of everything a file imports, `from a import b` as a.b."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(name, rooms):
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def floor_of(name):
    for floor, rooms in enumerate(FLOORS):
        if inside(name, rooms):
            return floor
    return None


def own_imports(path):
    """Rooms of ours that a file imports from; the package itself has none."""
    found = {name.removeprefix("podarcade.") for name in imports(path) if name.startswith("podarcade.")}
    return {name for name in found if floor_of(name) is not None}


MODULES = [path for path in FILES if name_of(path) and name_of(path) not in ROOMS - {"algorithms"}]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path):
    name = name_of(path)
    assert floor_of(name) is not None, f"{name} stands on no floor: add it to FLOORS"
    for other in own_imports(path):
        neighbours = any(
            inside(name, room) and inside(other, room) for room in [*({room} for room in ROOMS), FLOORS[-1]]
        )
        assert neighbours or floor_of(other) > floor_of(name), f"{name} imports {other}, which does not lie lower"


def test_no_imports_in_circles():
    """Files of one room may import each other, but not in a circle."""
    files = {name_of(path) for path in FILES}
    below = {
        name_of(path): {max((file for file in files if inside(other, {file})), key=len) for other in own_imports(path)}
        - {name_of(path)}
        for path in MODULES
    }
    while free := [name for name, others in below.items() if not others & below.keys()]:
        for name in free:
            del below[name]
    assert not below, f"imports in circles: {sorted(below)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_two_towers_do_not_meet(path):
    name = name_of(path)
    for tower, other in [(GAMES_TOWER, LEARNING_TOWER), (LEARNING_TOWER, GAMES_TOWER)]:
        if inside(name, tower):
            assert not [item for item in own_imports(path) if inside(item, other)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: name_of(path) or "podarcade")
def test_libraries_have_one_home(path):
    for library, homes in HOMES.items():
        used = [name for name in imports(path) if name == library or name.startswith(f"{library}.")]
        assert not used or inside(name_of(path), homes), f"{library} belongs in {sorted(homes)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: name_of(path) or "podarcade")
def test_collectives_live_in_the_mesh(path):
    used = {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)} & COLLECTIVES
    if name_of(path) != "anakin.sharding":
        used -= {"make_mesh"}  # our own, in anakin.sharding
        assert not used, f"{used} belong in anakin/sharding.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: name_of(path) or "podarcade")
def test_nothing_that_runs_what_it_reads(path):
    text = path.read_text(encoding="utf-8")
    for word in ("pickle", "marshal", "allow_pickle"):
        assert word not in text
    calls = {
        node.func.id for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "exec"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: name_of(path) or "podarcade")
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 310
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is longer than a screen"


@pytest.mark.parametrize("path", FILES, ids=lambda path: name_of(path) or "podarcade")
def test_public_things_say_what_they_are(path):
    assert ast.get_docstring(tree(path))
    for node in tree(path).body:
        members = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else []
        for item in [node, *members]:
            if isinstance(item, ast.FunctionDef | ast.ClassDef) and not item.name.startswith("_"):
                assert ast.get_docstring(item), f"{item.name} has no docstring"


def test_every_option_is_read_somewhere():
    """A field that nothing reads is a dead flag."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in [*FILES, *ROOT.glob("tests/*.py")])
    for path in FILES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ClassDef):
                continue
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    name = item.target.id
                    assert f".{name}" in source or f'"{name}"' in source, f"{node.name}.{name} is never read"
