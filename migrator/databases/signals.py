"""Django signals of runs, for what a project does when one has ended.

Receivers get ``source`` and ``dest``, the aliases, and ``document``, which is the JSON document of the command. What
they raise is logged by Django, and changes nothing for the run. A dry run sends none.
"""

from __future__ import annotations

from django.dispatch import Signal


class RunFinished(Signal):
    """A signal: a run has ended, and the exit code in its document says whether all is well."""


class RunFailed(Signal):
    """A signal: a run was refused or interrupted, or has failed."""


run_finished, run_failed = RunFinished(), RunFailed()
