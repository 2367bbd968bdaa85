"""Install the Debian packages that a virtual environment, a server or a test in a browser needs.

Usage: python -m tests.servers.debian [venv] [build] [servers] [browser]

Missing packages are installed if this is root, or if sudo needs no password; otherwise they are listed, with the
command that installs them. Programs that were installed by other means are not installed again.
"""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from tests.servers.catalogue import SERVERS


def _has_client_library() -> bool:
    """Whether mysqlclient would find the library that it is built with."""
    if not shutil.which("pkg-config"):
        return False
    return any(
        subprocess.run(["pkg-config", "--exists", name], check=False).returncode == 0  # noqa: S607
        for name in ("mysqlclient", "mariadb", "libmariadb", "perconaserverclient")
    )


def _missing_for_venv() -> list[str]:
    # Debian's python3 package lacks ensurepip, which venv needs.
    importlib.invalidate_caches()
    return [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]


def _missing_for_build() -> list[str]:
    has_headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    there_is = {
        "gcc": shutil.which("gcc") or shutil.which("cc"),
        "pkg-config": shutil.which("pkg-config"),
        "python3-dev": has_headers,
        "libmariadb-dev": _has_client_library(),
    }
    return [package for package, there in there_is.items() if not there]


def _missing_for_servers() -> list[str]:
    return [server.package for server in SERVERS if not server.is_named() and server.find() is None]


def _missing_for_browser() -> list[str]:
    return [] if shutil.which("chromium") else ["chromium"]


_NEEDS: dict[str, Callable[[], list[str]]] = {
    "venv": _missing_for_venv,
    "build": _missing_for_build,
    "servers": _missing_for_servers,
    "browser": _missing_for_browser,
}


def _privilege() -> list[str] | None:
    """Return the prefix of a command that installs packages, or ``None`` if this user may not."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "--non-interactive"]
    may = shutil.which("sudo") and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0
    return sudo if may else None


def _install(packages: list[str], privilege: list[str]) -> None:
    print("Installing Debian packages:", *packages, flush=True)
    apt_get = [*privilege, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"]
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        # Its output is long, and only matters if it fails.
        done = subprocess.run(
            [*apt_get, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            print(f"{done.stdout}\napt-get {arguments[0]} ended with code {done.returncode}.", file=sys.stderr)
            return


def main(needs: list[str]) -> int:
    missing = [package for need in needs for package in _NEEDS[need]()]
    if not missing:
        return 0
    privilege = _privilege()
    if privilege is not None:
        _install(missing, privilege)
        missing = [package for need in needs for package in _NEEDS[need]()]
    if missing:
        print(
            f"Not installed: {', '.join(missing)}. On Debian, install them with:\n"
            f"    sudo apt-get update && sudo apt-get install --no-install-recommends {' '.join(missing)}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(_NEEDS)))
