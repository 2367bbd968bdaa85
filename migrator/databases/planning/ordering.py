"""The order in which tables are loaded: parents first; cycles are strongly connected components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..tables import Table


def load_order(tables: Sequence[Table]) -> list[tuple[Table, ...]]:
    """Return the tables in groups so that every foreign key refers to the same group or an earlier one.

    A group of more than one table is a cycle. Ties are broken by label, so the order is always the same. Robert
    Tarjan's algorithm (1972), with an explicit stack in place of recursion.
    """
    by_name = {table.name: table for table in sorted(tables, key=lambda table: table.label)}
    parents = {
        name: sorted(
            {ref.target_table for ref in table.references if ref.target_table in by_name},
            key=lambda target: by_name[target].label,
        )
        for name, table in by_name.items()
    }
    return [
        tuple(sorted((by_name[name] for name in component), key=lambda table: table.label))
        for component in _components(parents)
    ]


def _components(edges: dict[str, list[str]]) -> Iterable[list[str]]:
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    for root in edges:
        if root in number:
            continue
        work = [(root, iter(edges[root]))]
        number[root] = low[root] = len(number)
        open_nodes.append(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in number:
                    number[target] = low[target] = len(number)
                    open_nodes.append(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in open_nodes:
                    low[node] = min(low[node], number[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    start = open_nodes.index(node)
                    yield open_nodes[start:]
                    del open_nodes[start:]


def is_cycle(group: Sequence[Table]) -> bool:
    """Whether the group's tables refer to each other, or its only table to itself."""
    return len(group) > 1 or group[0].refers_to_itself
