"""Programs of another Debian suite, unpacked into a directory and started by that suite's own loader.

Nothing is installed: `apt-get` runs with a private configuration and state, and needs no root. A program depends on
libraries that are newer or older than this machine's, so a wrapper in its place starts it with the dynamic loader and
the libraries that came with it (ld.so(8), `--library-path`). The wrapper lies where the program lay, because
PostgreSQL, MySQL and Python find their files relative to their own path.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Servers run as users of their own, who may not be able to enter the checkout or the home directory.
_ROOT = Path("/var/tmp")  # noqa: S108
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Lists the packages, and is written last; a directory without it was interrupted.
_COMPLETE = "complete"

# Of what a program depends on, only these are needed to run it here: libraries and data, no tools and no services.
_NEEDED = re.compile(r"lib|gcc-.*-base$|tzdata$|media-types$")
_NOT_NEEDED = re.compile(r"libperl|libpam-|.*-(perl|dev|dev-bin)$")


class SuiteError(Exception):
    """Programs of another suite could not be unpacked; the message says why."""


@dataclass(frozen=True)
class Programs:
    """Programs of one suite.

    Args:
        name: Of the directory that they are unpacked into.
        suite: Debian's name, like `trixie`.
        packages: Those that contain the programs and their data.
        programs: Their file names.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]

    @property
    def directory(self) -> Path:
        return _ROOT / f"migrator-suites-{os.geteuid()}" / f"{self.suite}-{self.name}"

    def unpack(self) -> list[Path]:
        """Unpack the programs, unless they are there from an earlier call, and return their paths.

        Raises:
            SuiteError: A package could not be downloaded, or does not contain a program.
        """
        complete, wanted = self.directory / _COMPLETE, "\n".join([*self.packages, *self.programs])
        if not complete.exists() or complete.read_text() != wanted:
            _make_private(self.directory.parent)
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir()
            _download_and_unpack(self)
            complete.write_text(wanted)
        return [_find(self.directory, name) for name in self.programs]


def _make_private(directory: Path) -> None:
    """Create a directory that others may read; refuse one that somebody else has created."""
    directory.mkdir(mode=0o755, exist_ok=True)
    found = directory.lstat()
    if directory.is_symlink() or found.st_uid != os.geteuid():
        raise SuiteError(f"{directory} belongs to somebody else. Remove it.")


def _find(directory: Path, program: str) -> Path:
    found = sorted(path for path in directory.glob(f"**/{program}") if path.parent.name in ("bin", "sbin"))
    if not found:
        raise SuiteError(f"{directory} contains no program {program}.")
    return found[0]


class _Apt:
    """`apt-get` for one suite, with a configuration and a state of its own."""

    def __init__(self, suite: str, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        for name in ("lists/partial", "archives/partial", "none"):
            (directory / name).mkdir(parents=True)
        (directory / "status").touch()
        (directory / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_mirror()} {suite} main\n")
        options = {
            "Dir::State": directory,
            "Dir::State::status": directory / "status",
            "Dir::Cache": directory,
            "Dir::Etc::SourceList": directory / "sources.list",
            "Dir::Etc::SourceParts": directory / "none",
            "Dir::Etc::PreferencesParts": directory / "none",
            # A mirror of `sid` may lag behind.
            "Acquire::Check-Valid-Until": "false",
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        }
        (directory / "conf").write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
        self._environment = {**os.environ, "APT_CONFIG": str(directory / "conf")}
        self._call("update")

    def download(self, packages: Sequence[str], directory: Path) -> None:
        """Download packages, and the libraries that they depend on, into a directory."""
        said = self._call("install", "--simulate", "--no-install-recommends", *packages)
        found: list[str] = re.findall(r"^Inst (\S+) ", said, re.MULTILINE)
        needed = [name for name in found if _NEEDED.match(name) and not _NOT_NEEDED.match(name)]
        self._call("download", *dict.fromkeys([*packages, *needed]), directory=directory)

    def _call(self, *arguments: str, directory: Path | None = None) -> str:
        return _output("apt-get", "--quiet=2", *arguments, directory=directory, environment=self._environment)


@cache
def _apt(suite: str, root: Path) -> _Apt:
    return _Apt(suite, root / f"{suite}-apt")


def _mirror() -> str:
    """Return the mirror that this machine installs Debian's packages from."""
    # Lists what would be downloaded, also on a machine that has never run `apt-get update`.
    addresses = re.findall(r"^'(\S+)/dists/[^/']+/", _output("apt-get", "update", "--print-uris"), re.MULTILINE)
    mirrors = [address for address in addresses if "security" not in address]
    if not mirrors:
        raise SuiteError("apt-get has no mirror of Debian in its sources.")
    return str(mirrors[0])


def _download_and_unpack(wanted: Programs) -> None:
    directory = wanted.directory
    debs = directory / "debs"
    debs.mkdir()
    _apt(wanted.suite, directory.parent).download(wanted.packages, debs)
    for deb in sorted(debs.iterdir()):
        _output("dpkg-deb", "--extract", str(deb), str(directory))
    shutil.rmtree(debs)
    for name in wanted.programs:
        _wrap(directory, _find(directory, name))
    for version in directory.glob("usr/lib/python3.*"):
        _relocate_python(directory, version.name)


def _wrap(directory: Path, program: Path) -> None:
    """Put a wrapper in the place of a program, which starts it by the loader in the same directory."""
    # /usr/bin/redis-server is a link to another program, which looks at the name that it was called by.
    binary = program.with_name(f"{program.name}.elf")
    shutil.copy2(program.resolve(), binary)
    program.unlink()
    loader = next(directory.glob("**/ld-linux-*.so.*"))
    libraries = sorted({str(path.parent) for path in directory.glob("**/*-linux-*/libc.so.6")})
    libraries += [path.replace("/lib/", "/usr/lib/") for path in libraries if "/usr/lib/" not in path]
    # New in glibc 2.33; the loaders before it know no --help either.
    offers = subprocess.run([loader, "--help"], capture_output=True, text=True, check=False).stdout
    name = '--argv0 "$0" ' if "--argv0" in offers else ""
    program.write_text(f'#!/bin/sh\nexec {loader} {name}--library-path {":".join(libraries)} {binary} "$@"\n')
    program.chmod(0o755)


def _output(*command: str, directory: Path | None = None, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SuiteError(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout}")
    return done.stdout


def _relocate_python(directory: Path, version: str) -> None:
    """Change the two places where Debian's Python has absolute paths: the wheel of pip for venv, and pyconfig.h."""
    for file in (directory / "usr/lib" / version).glob("_sysconfigdata*.py"):
        text = file.read_text()
        file.write_text(text.replace("'/usr/share/python-wheels/'", f"'{directory}/usr/share/python-wheels/'"))
    header = directory / "usr/include" / version / "pyconfig.h"
    for own in directory.glob(f"usr/include/*-linux-*/{version}/pyconfig.h"):
        shutil.copyfile(own, header)


def on_path(programs: Sequence[Path]) -> str:
    """Return a PATH on which these programs are found before those of the machine."""
    return os.pathsep.join([*dict.fromkeys(str(path.parent) for path in programs), os.environ.get("PATH", os.defpath)])
