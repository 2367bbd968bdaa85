"""The beginning and the end of a run, in the log and by signals."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from ..console.refusal import refusal_report
from ..console.reports import whole_document
from ..console.safe_text import visible
from ..console.wording import plural
from ..errors import Declined, MigratorError
from .reports.run import result_report
from .result import RunResult
from .run_monitor import logger
from .signals import run_failed, run_finished

P = ParamSpec("P")


def announced(function: Callable[P, RunResult]) -> Callable[P, RunResult]:
    """Make a function log how its run begins and ends, and send a signal at the end unless it was a dry run."""

    @wraps(function)
    def announcing(*args: P.args, **keywords: P.kwargs) -> RunResult:
        source, dest = keywords.get("source"), keywords.get("dest")
        is_dry = bool(keywords.get("dry_run") or keywords.get("forecast"))
        about: dict[str, Any] = {"sender": announcing, "source": source, "dest": dest}
        logger.info("%s from %r to %r begins%s", function.__name__, source, dest, " (dry run)" if is_dry else "")
        try:
            result = function(*args, **keywords)
        except Declined as error:
            logger.info("Declined: %s", visible(str(error)))
            raise
        except Exception as error:
            known = _quotable(error)
            logger.error("%s: %s", type(error).__name__, visible(str(known)))
            if not is_dry and run_failed.has_listeners(announcing):
                run_failed.send_robust(**about, document=whole_document(refusal_report(function.__name__, known)))
            raise
        _log_result(result)
        if not is_dry and run_finished.has_listeners(announcing):
            run_finished.send_robust(**about, document=whole_document(result_report(result)))
        return result

    return announcing


def _log_result(result: RunResult) -> None:
    logger.info(
        "Finished in %.1f s: %s written, %d rejected, exit code %d",
        result.seconds,
        plural(result.rows_written, "row"),
        result.rows_rejected,
        result.exit_code,
    )


def _quotable(error: Exception) -> MigratorError:
    """Return an error of ours unchanged; another one may quote values, so only its name is given."""
    return error if isinstance(error, MigratorError) else MigratorError(f"unexpected {type(error).__name__}")
