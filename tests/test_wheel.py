"""What is installed is what was written: the package list, and the built wheel used from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INGREDIENTS = ("hybrid_memory", "policies", "pyproject.toml", "README.md", "LICENSE")
DATA = {".json", ".jsonl", ".mako", ".md", ".safetensors", ".toml", ".html", ".css", ".js"}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the sources; on failure the test shows what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_folder_of_the_package_is_in_the_list() -> None:
    """The list in pyproject.toml is written by hand, and a folder that is missing there is missing in the wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    inits = (ROOT / "hybrid_memory").rglob("__init__.py")
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in inits}

    assert set(listed) == folders | {"hybrid_memory.policies"}
    assert listed == sorted(listed)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build folder in the sources would bring deleted modules back."""
    copy = tmp_path_factory.mktemp("sources")
    for name in INGREDIENTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy / "dist", cwd=copy)
    return next((copy / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    # Before borrowing: pip would take the editable install over there for this one.
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder.parent)
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder.parent).strip())
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_wheel_has_every_source_and_data_file(wheel: Path) -> None:
    """Compared with the tree, file by file."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "hybrid_memory").rglob("*")
        if path.is_file() and (path.suffix in {".py", *DATA} or path.name == "py.typed")
    }
    expected |= {f"hybrid_memory/policies/{path.name}" for path in (ROOT / "policies").iterdir() if path.is_file()}

    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected


@pytest.mark.slow
def test_the_installed_package_is_imported_from_the_wheel(installed: Path) -> None:
    """Not from the sources: the test itself would be worth nothing then."""
    place = run(
        installed / "bin" / "python", "-c", "import hybrid_memory; print(hybrid_memory.__file__)", cwd=installed
    )

    assert Path(place.strip()).is_relative_to(installed)


@pytest.mark.slow
def test_every_public_name_of_the_installed_package_is_there(installed: Path) -> None:
    """Loads what they need, too."""
    script = "import hybrid_memory as h; [getattr(h, name) for name in h.__all__]; print(len(h.__all__))"

    assert int(run(installed / "bin" / "python", "-c", script, cwd=installed)) > 0


@pytest.mark.slow
def test_every_policy_file_of_the_installed_package_can_be_read(installed: Path) -> None:
    """They lie outside the package in the sources, so the wheel is where they could get lost."""
    script = """
from hybrid_memory.routing.policy import list_policies, load_policy
print(*(load_policy(name) and name for name in list_policies()))
"""
    # beside each policy lies a table of examples for it: "default.examples.toml"
    here = sorted(path.stem for path in (ROOT / "policies").glob("*.toml") if "." not in path.stem)

    assert sorted(run(installed / "bin" / "python", "-c", script, cwd=installed).split()) == here


@pytest.mark.slow
def test_the_installed_command_prints_its_help(installed: Path) -> None:
    """The entry point of the wheel works."""
    assert "hybrid-memory" in run(installed / "bin" / "hybrid-memory", "--help", cwd=installed)
