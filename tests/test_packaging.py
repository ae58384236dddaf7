"""What is installed: the wheel, the command `podarcade`, the experiments, an editable install."""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import podarcade

ROOT = pathlib.Path(__file__).parent.parent
# Without what this checkout and pytest put into the environment; compiled programs are shared.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"CI": "true"}
COPIED = ("podarcade", "configs", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


def run(*command, cwd, **options):
    command = [str(item) for item in command]
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=500, **options)
    return done.returncode, done.stdout + done.stderr


def pip(*arguments, cwd):
    pytest.importorskip("pip")
    # Without a network where setuptools is new enough to build a wheel on its own.
    version = tuple(map(int, importlib.metadata.version("setuptools").split(".")[:2]))
    offline = ["--no-build-isolation"] if version >= (70, 1) else []
    code, output = run(sys.executable, "-m", "pip", *arguments, "--no-deps", "-q", *offline, cwd=cwd)
    assert code == 0, output


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the source in a folder named podarcade, as git clones it."""
    folder = tmp_path_factory.mktemp("clone") / "podarcade"
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", source, "-w", folder, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def virtual_environment(folder):
    """A new environment that finds the dependencies of this one, but not its podarcade; returns its bin folder."""
    code, output = run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=ROOT)
    assert code == 0, output
    (site,) = (folder / "lib").glob("python*/site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)))
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin folder of an environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("environment")
    binaries = virtual_environment(folder)
    pip("--python", binaries / "python", "install", "--ignore-installed", wheel, cwd=folder)
    return binaries


def test_the_wheel_holds_the_experiments_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    here = {f"podarcade/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.py")}
    assert here == {name for name in names if name.startswith("podarcade/configs/")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "podarcade").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")} - here
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "benchmarks"))]


def test_the_version_is_said_once(wheel):
    metadata = zipfile.ZipFile(wheel).read(f"podarcade-{podarcade.__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {podarcade.__version__}\n" in metadata
    for needed in ("matplotlib", "scipy"):
        assert f"\nRequires-Dist: {needed}" in metadata
    extras = {line.split()[1] for line in metadata.splitlines() if line.startswith("Provides-Extra")}
    assert extras == {"cuda12", "cuda13", "tpu", "gym", "gymnax", "export", "wandb", "slurm", "search", "dev"}


def test_the_installed_package_trains_from_an_empty_folder(installed, tmp_path):
    code, output = run(installed / "podarcade", "launch", "--config=configs/pqn_lru.py:preset=smoke", cwd=tmp_path)
    assert code == 0, output
    assert "complete: 20 updates" in output
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "pqn-lru-minesweeper-easy-partial-smoke"
    config = f"runs/{folder.name}/config.json"
    # The same run from its own config.json.
    resumed = "launch", f"--config={config}", f"--workdir=runs/{folder.name}"
    code, output = run(installed / "python", "-m", "podarcade", *resumed, cwd=tmp_path)
    assert code == 0 and "complete: 20 updates" in output, output


def test_the_command_lists_and_runs_its_doors(installed, tmp_path):
    code, output = run(installed / "podarcade", cwd=tmp_path)
    assert code == 0 and "launch" in output and "doctor" in output and "gallery" in output
    code, output = run(installed / "podarcade", "lunch", cwd=tmp_path)
    assert (code, output.count("\n")) == (1, 1) and output.startswith("error: unknown command 'lunch'")
    code, output = run(installed / "podarcade", "launch", cwd=tmp_path)
    assert (code, output) == (1, "error: no --config given; try --config=configs/pqn_lru.py\n")
    code, output = run(installed / "podarcade", "launch", "--config=configs/nothing.py", cwd=tmp_path)
    assert code == 1 and "did you mean 'configs/" in output and output.count("\n") == 1


def test_an_editable_install_works_beside_its_clone(source, tmp_path):
    """Python takes the folder of the clone for a package without modules, unless it finds the real one on its path."""
    binaries = virtual_environment(tmp_path / "environment")
    pip("--python", binaries / "python", "install", "--ignore-installed", "-e", source, cwd=tmp_path)
    program = "import podarcade; print(podarcade.make('CartPoleEasy').game.actions.n, podarcade.__file__)"
    code, output = run(binaries / "python", "-c", program, cwd=source.parent)
    assert (code, output) == (0, f"5 {source}/podarcade/__init__.py\n"), output
    program = "from podarcade.configuration import files; print(files.resolve('configs/pqn_lru.py'))"
    code, output = run(binaries / "python", "-c", program, cwd=tmp_path)
    assert (code, output) == (0, f"{source}/configs/pqn_lru.py\n"), output


def test_a_checkout_on_the_path_finds_its_experiments(source, tmp_path):
    program = f"import sys; sys.path.insert(0, {str(source)!r}); from podarcade.configuration import files; "
    program += "print(files.resolve('configs/popgym_arcade/pqn.py'))"
    code, output = run(sys.executable, "-c", program, cwd=tmp_path)
    assert (code, output) == (0, f"{source}/configs/popgym_arcade/pqn.py\n"), output


def test_the_working_directory_comes_before_the_package(source, tmp_path, monkeypatch):
    from podarcade.configuration import files

    monkeypatch.chdir(tmp_path)
    assert files.resolve("configs/pqn_lru.py") == ROOT / "configs" / "pqn_lru.py"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "pqn_lru.py").write_text("")
    assert files.resolve("configs/pqn_lru.py").resolve() == tmp_path / "configs" / "pqn_lru.py"
