"""The settings of Sphinx for the documentation: ``make docs`` builds it, without any network."""

import os
import sys
import tomllib
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import migrator  # noqa: E402  (it is found only now)

_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "migrator"
author = _project["authors"][0]["name"]
project_copyright = author
version = release = migrator.__version__
language = "en"

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "reference/generated"]
nitpicky = True
# Tables hold paths and options, which no hyphenation may break.
smartquotes = False

# > [!NOTE] as code hosts show it, and lists of options with their explanations.
myst_enable_extensions = ["alert", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"migrator {release}"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["migrator.css"]

# In blocks of commands only what follows a prompt is copied, with the lines that continue it.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"


def setup(app):
    """Write the generated parts before pages include them."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.test")
    django.setup()
    from docs import pages

    app.connect("builder-inited", lambda app: pages.write())
