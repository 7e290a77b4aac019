"""The wheel, built from a copy of the checkout and installed into a new environment that does not see the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

from components.settings import CHECKOUT

NOT_COPIED = shutil.ignore_patterns(".*", "data", "build", "dist", "*.egg-info", "__pycache__")
PROGRAMS = ("bentoml", "prefect", "supervisord")  # those of the dependencies that the code starts
UV = str(Path(sys.executable).with_name("uv"))


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it. Returns their paths."""
    shutil.copytree(CHECKOUT, folder / "checkout", ignore=NOT_COPIED)
    environment = {**os.environ, "UV_CACHE_DIR": str(folder / "cache")}
    command = [UV, "build", "--quiet", "--offline", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([*command, "--out-dir", "dist", "checkout"], cwd=folder, env=environment, check=True)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def list_wheel(wheel: Path) -> set[str]:
    """The names of the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel. Its dependencies are those of this process."""

    folder: Path
    environment: dict[str, str]  # variables of its user: nothing of this project is set

    @classmethod
    def create(cls, folder: Path, wheel: Path) -> "Installed":
        """Create the environment in `folder / "env"`, with `folder / "home"` as the user's home."""
        venv.create(folder / "env", symlinks=True, with_pip=False)
        (folder / "home").mkdir()
        keep = {name: os.environ[name] for name in ("LANG", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
        path = f"{folder / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        installed = cls(folder, {**keep, "PATH": path, "HOME": str(folder / "home")})
        command = [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(installed.bin / "python")]
        environment = {**os.environ, "UV_CACHE_DIR": str(folder / "cache")}
        subprocess.run([*command, str(wheel)], env=environment, check=True)
        # The lines of a .pth file are added to sys.path without the .pth files in those folders, so that the finder of
        # an editable install is not active.
        (installed.packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        for name in PROGRAMS:
            _, _, code = Path(sys.executable).with_name(name).read_text().partition("\n")
            (installed.bin / name).write_text(f"#!{installed.bin / 'python'}\n{code}")
            (installed.bin / name).chmod(0o755)
        return installed

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.folder / "env" / "bin"

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return self.folder / "env" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)

    def files(self) -> set[Path]:
        """All files in site-packages but compiled ones."""
        return {path for path in self.packages.rglob("*") if path.is_file() and path.parent.name != "__pycache__"}

    def run(self, cwd: Path, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment in a folder, with additional variables."""
        program, *arguments = command
        return subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=cwd,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def fashion(self, cwd: Path, *arguments: str, **more: str) -> str:
        """Run a command in a folder. Returns its output; it must succeed."""
        done = self.run(cwd, "fashion", *arguments, **more)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
        return done.stdout
