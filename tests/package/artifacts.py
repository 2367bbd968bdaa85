"""The two files of a release: built, checked by the tools that package indexes recommend, and complete."""

import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.package.steps import call, expect

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"


def build() -> tuple[Path, Path]:
    """Build the source distribution, and the wheel from it, as an index's users would; return wheel and source."""
    shutil.rmtree(DIST, ignore_errors=True)
    call(sys.executable, "-m", "build", "--outdir", DIST, ".", cwd=ROOT)
    wheels, sources = list(DIST.glob("*.whl")), list(DIST.glob("*.tar.gz"))
    expect(len(wheels) == len(sources) == 1, f"{DIST} has {len(wheels)} wheels and {len(sources)} source distributions")
    return wheels[0], sources[0]


def check_metadata(wheel: Path, source: Path) -> None:
    """Check both files with twine and check-wheel-contents, and that one version is in all places."""
    call(sys.executable, "-m", "twine", "check", "--strict", wheel, source, cwd=ROOT)
    call(sys.executable, "-m", "check_wheel_contents", wheel, cwd=ROOT)
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as archive:
        code = archive.read("migrator/__init__.py").decode()
    expect(f'__version__ = "{version}"' in code, f"the wheel's version is {version}, and its code has another")
    expect(source.name == f"{name}-{version}.tar.gz", f"{source.name} has another name or version than {wheel.name}")


def check_files(wheel: Path, source: Path) -> None:
    """Check that the source distribution is the repository, and the wheel its package, without any other file."""
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(source) as files:
        in_source = {member.name.partition("/")[2] for member in files if member.isfile()} - {"PKG-INFO"}
    of_package = {name for name in in_source if name.startswith("migrator/")}
    expect("migrator/py.typed" in in_wheel, "the wheel does not say that it has types")
    expect(in_wheel == of_package, f"only in the wheel or the source: {sorted(in_wheel ^ of_package)}")
    tracked = _tracked()
    if tracked is None:
        print("(this is no clone: the files were not compared with git's) ", end="")
        return
    unknown, missing = sorted(in_source - tracked), sorted(tracked - in_source)
    expect(not unknown, f"in the source distribution, and unknown to git: {', '.join(unknown)}")
    expect(not missing, f"missing in the source distribution: {', '.join(missing)}")


def _tracked() -> set[str] | None:
    """Return the files that git knows, and that exist; ``None`` outside of a clone."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return None
    # Git reads no clone of another user without this.
    listed = call(git, "-c", "safe.directory=*", "ls-files", "-z", cwd=ROOT)
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


def check_page(wheel: Path, directory: Path) -> None:
    """Check that the page of a package index has no dead link: relative ones lead nowhere there."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        _, _, text = archive.read(name).decode().partition("\n\n")
    readme = directory / "page.md"
    readme.write_text(text, encoding="utf-8")
    page = call(sys.executable, "-m", "readme_renderer", readme, cwd=directory)
    anchors = {f"#{anchor}" for anchor in re.findall(r'\bid="([^"]+)"', page)}
    links = set(re.findall(r'\b(?:href|src)="([^"]*)"', page))
    expect(bool(anchors and links), "the page has no headings or no links")
    dead = sorted(link for link in links - anchors if not link.startswith("https://"))
    expect(not dead, f"dead links on the page of a package index: {', '.join(dead)}")
