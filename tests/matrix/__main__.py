"""List the cells, or run one: python -m tests.matrix [CELL | --prepare | --ci | --table]

After a run, results.json has its result, and so has the documentation's table of versions, once it is built.
`--ci` runs the cells that CI runs, and `--prepare` downloads what these need. `--table` prints that table.
"""

import sys

from tests.matrix.cells import Cell, Result, read_cells, read_results, save_result
from tests.matrix.run import prepare, run
from tests.matrix.table import render
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
    result, code = run(cell)
    if result is not None:
        save_result(cell.name, result)
    return code


def main(arguments: list[str]) -> int:
    cells = read_cells()
    of_ci = [cell for cell in cells.values() if cell.in_ci]
    try:
        match arguments:
            case []:
                _list(cells)
            case ["--table"]:
                print(render(cells, read_results()), end="")
            case ["--prepare"]:
                for cell in of_ci:
                    prepare(cell)
            case ["--ci"]:
                return max(_run(cell) for cell in of_ci)
            case [name] if name in cells:
                return _run(cells[name])
            case _:
                print(f"There is no cell {' '.join(arguments)}. The cells are: {', '.join(cells)}.", file=sys.stderr)
                return 2
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
