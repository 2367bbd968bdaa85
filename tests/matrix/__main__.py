"""List the cells, or run one: python -m tests.matrix [CELL | --ci | --table]

After a run, results.json and the README's table have its result. `--ci` runs the cells that CI runs, and `--table`
writes the README's table anew.
"""

import sys

from tests.matrix.cells import Cell, Result, read_cells, read_results, save_result
from tests.matrix.run import run
from tests.matrix.table import render, write_into_readme
from tests.servers.suites import SuiteError


def _list(cells: dict[str, Cell]) -> None:
    results = read_results()
    width = max(map(len, cells))
    for cell in cells.values():
        print(f"{cell.name:{width}}  {cell.about}{' (in CI)' if cell.in_ci else ''}")
        print(f"{'':{width}}  {_said(results.get(cell.name))}")
    print("\nRun one with: make matrix CELL=" + next(reversed(cells)))


def _said(result: Result | None) -> str:
    if result is None:
        return "not run yet"
    counts = f"{result.passed:,} passed, {result.failed:,} failed, {result.skipped:,} skipped"
    return f"{result.date}: {counts} in {result.seconds / 60:.1f} min"


def _run(cell: Cell) -> int:
    try:
        result, code = run(cell)
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 1
    if result is not None:
        save_result(cell.name, result)
        write_into_readme(render(read_cells(), read_results()))
    return code


def main(arguments: list[str]) -> int:
    cells = read_cells()
    if not arguments:
        _list(cells)
        return 0
    if arguments == ["--table"]:
        write_into_readme(render(cells, read_results()))
        return 0
    chosen = [cell for cell in cells.values() if cell.in_ci] if arguments == ["--ci"] else []
    if not chosen:
        if arguments[0] not in cells:
            print(f"There is no cell {arguments[0]}. The cells are: {', '.join(cells)}.", file=sys.stderr)
            return 2
        chosen = [cells[arguments[0]]]
    return max(_run(cell) for cell in chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
