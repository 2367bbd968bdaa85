"""The beginning and the end of a run, in the log and by signals."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from ..console.safe_text import visible
from ..console.wording import plural
from ..errors import ERROR_SCHEMA, Declined, MigratorError
from .reports.run import result_report
from .result import RunResult
from .run_monitor import logger
from .signals import run_failed, run_finished

P = ParamSpec("P")


def announced(function: Callable[P, RunResult]) -> Callable[P, RunResult]:
    """Make a function log how its run begins and ends, and send a signal at the end unless it was a dry run."""

    @wraps(function)
    def announcing(*args: P.args, **keywords: P.kwargs) -> RunResult:
        source, dest, is_dry = keywords.get("source"), keywords.get("dest"), keywords.get("dry_run", False)
        about: dict[str, Any] = {"sender": announcing, "source": source, "dest": dest}
        logger.info("%s from %r to %r begins%s", function.__name__, source, dest, " (dry run)" if is_dry else "")
        try:
            result = function(*args, **keywords)
        except Declined as error:
            logger.info("Declined: %s", visible(str(error)))
            raise
        except Exception as error:
            document = _error_document(error)
            logger.error("%s: %s", type(error).__name__, visible(document["error"]))
            if not is_dry and run_failed.has_listeners(announcing):
                run_failed.send_robust(**about, document=document)
            raise
        _log_result(result)
        if not is_dry and run_finished.has_listeners(announcing):
            document = {**result_report(result).document, "exit_code": result.exit_code}
            run_finished.send_robust(**about, document=document)
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


def _error_document(error: Exception) -> dict[str, Any]:
    """Describe an error as commands do; one that is not ours may quote values, so only its name is given."""
    if isinstance(error, MigratorError):
        return {"schema": ERROR_SCHEMA, "error": str(error), "exit_code": error.exit_code}
    return {"schema": ERROR_SCHEMA, "error": f"unexpected {type(error).__name__}", "exit_code": 1}
