"""Run one worker: python -m tests.sessions.chaos SEED"""

import sys
from importlib import import_module

import django

django.setup()
import_module("tests.sessions.chaos.worker").main(int(sys.argv[1]))
