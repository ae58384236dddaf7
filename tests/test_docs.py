"""README.md and docs/: links resolve, tables are those of the results, and every code block is run or parsed."""

import importlib.util
import json
import pathlib
import re
import runpy
import shlex
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_architecture import FLOORS

import podarcade
from benchmarks import tables
from podarcade import export, launch, search, sweep
from podarcade.configuration import command_line
from podarcade.diagnostics.choice import choose
from podarcade.envs.contract import check_game

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = tables.documents()
TRAIN = (
    "python3 -m venv .venv && .venv/bin/pip install -q -e . "
    "&& .venv/bin/python -m podarcade.launch --config=configs/pqn_lru.py"
)
TEST = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/python -m pytest -q"
NEEDS = ("gpu", "network", "cluster", "minutes")  # reasons for which a block is not run
LANGUAGES = ("bash", "python")


class Block(NamedTuple):
    """A fenced code block."""

    path: pathlib.Path
    line: int
    language: str
    needs: str
    text: str

    @property
    def name(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path):
    """The fenced code blocks of a document; a comment `<!-- needs: REASON -->` right above one marks it."""
    text = path.read_text(encoding="utf-8")
    pattern = r"^(?:<!-- needs: (\w+) -->\n)?```(\w*)\n(.*?)^```$"
    for match in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(path, line, match[2], match[1] or "", match[3])


BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [block for block in BLOCKS if block.language == "bash" and not block.needs]


def prose(path):
    """A document without its code."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    found = set()
    for title in re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path):
    text = prose(path)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name}: {link} does not exist"
        assert target.is_relative_to(ROOT), f"{path.name}: {link} leaves the repository"
        assert not anchor or anchor in anchors(target), f"{path.name}: {target.name} has no heading #{anchor}"


def test_every_page_is_listed():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in index, f"docs/README.md does not list {path.name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_those_of_the_results(path):
    text = path.read_text(encoding="utf-8")
    assert tables.render(text) == text, f"{path.name} is stale: run python -m benchmarks.tables"


def test_tests_that_documents_name_exist():
    for path in DOCUMENTS:
        for name in re.findall(r"`(?:tests/)?(test_\w+)(?:\.py)?`", path.read_text(encoding="utf-8")):
            assert (ROOT / "tests" / f"{name}.py").exists(), f"{path.name} names tests/{name}.py"


def test_every_table_stands_somewhere():
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    for name in (*tables.TABLES, *tables.COMPARISONS):
        assert f"<!-- table: {name} -->" in text, f"no document shows the table {name}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: learnin -->\n<!-- end -->", "did you mean '?learning"),
        ("<!-- table: learning -->\n", "not closed"),
    ],
)
def test_a_wrong_block_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        tables.render(text)


def test_a_stale_table_is_noticed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("a\n\n<!-- table: parity -->\nold\n<!-- end -->\nb\n")
    assert tables.main(["tables", "--check"]) == 1
    assert "old" in readme.read_text()
    assert tables.main(["tables"]) == 0
    assert "| random | 30 | 30 |" in readme.read_text()
    assert tables.main(["tables", "--check"]) == 0
    assert tables.main(["tables", "--chek"]) == 1
    assert "--chek" in capsys.readouterr().err


def test_the_readme_has_its_two_commands():
    lines = [line.strip() for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    commands = [line for line in lines if line.startswith("python3 -m venv")]
    assert commands == [TRAIN, TEST]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_blocks_have_a_language_and_a_known_reason_not_to_run(block):
    assert block.language in LANGUAGES, f"{block.name}: {block.language!r}; expected one of: {', '.join(LANGUAGES)}"
    assert block.needs in ("", *NEEDS), f"{block.name}: needs {block.needs}; expected one of: {', '.join(NEEDS)}"


def test_the_map_shows_every_floor():
    rows = re.findall(r"^\| \d \| ([^|]*) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    shown = [{name.rstrip("/") for name in re.findall(r"`([^`]+)`", row)} for row in rows]
    assert len(shown) == len(FLOORS)
    for names, floor in zip(shown, FLOORS, strict=True):
        assert floor <= names, f"the README's map lacks {floor - names}"


def write_plugins(folder):
    """Write the plug-ins that docs/extending.md shows, each as CLASS.py in lower case."""
    for block in PYTHON:
        if block.path.name == "extending.md":
            name = re.findall(r"^class (\w+)\((?:Memory|Game|Task|Diagnostic)\)", block.text, re.MULTILINE)[0]
            (folder / f"{name.lower()}.py").write_text(block.text, encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small run, which docs/agents.md loads as runs/tmaze."""
    folder = tmp_path_factory.mktemp("run")
    assert launch.main(["launch", "--config=configs/ppo.py:game=tmaze,preset=smoke", f"--workdir={folder}"]) == 0
    return folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory with the plug-ins of the documentation, the recorded results and the metrics of a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    for name in ("results", "scores"):
        (tmp_path / "benchmarks" / name).symlink_to(ROOT / "benchmarks" / name)
    write_plugins(tmp_path)
    run = tmp_path / "runs" / "navigator"
    run.mkdir(parents=True)
    records = [{"frames": 100, "train/loss": 0.5}, {"frames": 200, "eval/return_partial": 0.25}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_runs(block, elsewhere, request):
    if "pandas" in block.text:
        pytest.importorskip("pandas")
    if "runs/tmaze" in block.text or "metrics.csv" in block.text:
        shutil.copytree(request.getfixturevalue("trained"), "runs/tmaze")
        assert export.main(["export", "runs/tmaze", "--format=csv"]) == 0
    if "gymnasium" in block.text:
        pytest.importorskip("gymnasium")
    path = elsewhere / "block.py"
    path.write_text(block.text, encoding="utf-8")
    found = runpy.run_path(str(path))
    if "curve" in found:
        assert found["curve"] == [(200, 0.25)]


def commands(block):
    """The commands of a shell block as lists of words; assignments are substituted where they are used."""
    values = {}
    for line in block.text.replace("\\\n", " ").splitlines():
        for name, value in values.items():
            line = re.sub(rf"\${name}\b", lambda _, value=value: value, line)
        words = shlex.split(line, comments=True)
        if len(words) == 1 and re.fullmatch(r"[A-Z]+=.*", words[0], re.DOTALL):
            name, _, value = words[0].partition("=")
            values[name] = value
        elif words:
            yield words


def check_flags(module, arguments):
    """Every flag is defined somewhere in a module, or in what it imports from its own folder."""
    source = pathlib.Path(importlib.util.find_spec(module).origin)
    text = source.read_text(encoding="utf-8")
    for names in re.findall(r"^from benchmarks import (.*)$", text, re.MULTILINE):
        for name in re.findall(r"\w+", names):
            if source.with_name(f"{name}.py").is_file():
                text += source.with_name(f"{name}.py").read_text(encoding="utf-8")
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0]
        assert argument.startswith("--"), f"{module}: {argument} is no flag"
        if name != "config" and not name.startswith("config."):
            assert re.search(rf'"(--)?{name}"', text), f"{module} has no flag --{name}"


def load(arguments):
    """The configuration of a `podarcade launch` command."""
    return command_line.load(launch.make_flags(), ["launch", *arguments])


def load_all(module, arguments):
    """Load the configurations that a comparison or a benchmark names, with all its variants and overrides."""
    named = [item for item in arguments if item.startswith("--config=")]
    overrides = [item.partition("=")[2] for item in arguments if item.startswith("--override=")]
    overrides = [f"--config.{item.removeprefix('config.')}" for item in overrides]
    for item in named:
        load([item, *overrides])
    for item in arguments:
        if item.startswith("--variant="):
            base = named[0].removeprefix("--config=") if named else "configs/pqn_lru.py"
            file, given, changes = variant(item.removeprefix("--variant="), base)
            load([f"--config={file}:{','.join(given)}", *overrides, *(f"--{change}" for change in changes)])


def variant(text, base):
    """File, arguments and overrides of `NAME:item,item` on top of FILE.py:ARGUMENTS."""
    file, _, plain = base.partition(":")
    given, changes = list(filter(None, plain.split(","))), []
    for item in filter(None, re.split(r",(?=[\w.]+=)", text.partition(":")[2])):
        if item.startswith("file="):
            file, given = item.removeprefix("file="), []
        else:
            (changes if item.startswith("config.") else given).append(item)
    return file, given, changes


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_commands_are_accepted(block, elsewhere):
    for words in commands(block):
        match words:
            case ["podarcade", "launch", *arguments]:
                load(arguments)
            case ["podarcade", "evaluate" | "diagnose" | "report" | "export" | "follow" as door, *arguments]:
                check_flags(f"podarcade.{door}", [item for item in arguments if not item.startswith("runs")])
            case ["podarcade", "sweep", *arguments]:
                assert sweep.main(["sweep", *arguments, "--dry_run"]) == 0
            case ["podarcade", "search", *arguments]:
                options = search.make_flags()
                options(["search", *arguments])
                search.Search(options, arguments)
            case ["podarcade", door, *arguments]:
                check_flags(f"podarcade.{door}", arguments)
                load_all(door, arguments)
            case ["python", "-m", module, *arguments] if module.startswith("benchmarks."):
                check_flags(module, arguments)
                load_all(module, arguments)
            case _:
                pytest.fail(f"{block.name}: no test knows how to check {shlex.join(words)}")


def test_the_memory_of_the_documentation_keeps_its_contract(elsewhere):
    layer = runpy.run_path("indrnn.py")["IndRNN"](width=6)
    x = jax.random.normal(jax.random.key(0), (5, 2, 6))
    start = jnp.zeros((5, 2), bool).at[3, 0].set(True)
    params = layer.init(jax.random.key(1), layer.initial(2), x, start)
    carry, whole = layer.apply(params, layer.initial(2), x, start)
    middle, first = layer.apply(params, layer.initial(2), x[:2], start[:2])
    last, second = layer.apply(params, middle, x[2:], start[2:])
    np.testing.assert_allclose(whole, jnp.concatenate([first, second]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(carry, last, rtol=1e-5, atol=1e-6)


def test_the_game_of_the_documentation_keeps_its_contract(elsewhere):
    game = runpy.run_path("recall.py")["Recall"](delay=3)
    state, rewards = game.reset(jax.random.key(0)), []
    full, partial = (game.draw(state, jnp.asarray(twin)) for twin in (False, True))
    np.testing.assert_array_equal(full, partial)
    for action in (4, state.signal, state.signal):
        state, reward, terminal = game.step(state, jnp.asarray(action), jax.random.key(1))
        rewards.append(float(reward))
    np.testing.assert_allclose(rewards, [0, -0.1, 1], rtol=1e-6)
    assert bool(terminal)
    assert full.shape == (128, 128, 3)
    assert not game.draw(state, jnp.asarray(True)).any()


def test_the_task_of_the_documentation_keeps_its_contract(elsewhere):
    task = runpy.run_path("echo.py")["Echo"]()
    check_game(task)
    state = task.reset(jax.random.key(0))
    after, reward, terminal = task.step(state, state.target[None], jax.random.key(1))
    assert float(reward) == 0 and not bool(terminal) and task.time_limit == 10
    np.testing.assert_array_equal(task.draw(after, True), [np.float32(0.1), 0])
    np.testing.assert_array_equal(task.draw(after, False), [np.float32(0.1), state.target])


def test_the_diagnostic_of_the_documentation_measures(elsewhere, trained):
    (chosen,) = choose(["persistence.py"], ["persistence.episodes=4"]).values()
    found = chosen(podarcade.load(trained), jax.random.key(0))
    assert found["repeats"].shape == (4,) and 0 <= chosen.summarise(found)["repeats"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["memory=indrnn.py,game=navigator", "game=recall.py", "game=echo.py"])
def test_plugins_of_the_documentation_train(choice, elsewhere):
    assert launch.main(["launch", f"--config=configs/ppo.py:preset=smoke,{choice}", "--workdir=runs/plugin"]) == 0
