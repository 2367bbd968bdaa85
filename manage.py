#!/usr/bin/env python
"""Django's command line for this checkout; the demo's two SQLite databases unless DJANGO_SETTINGS_MODULE says else."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.demo")
    execute_from_command_line(sys.argv)
