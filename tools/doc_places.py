"""Places of the docs' pages that programs write.

Each is between two comments, `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

from collections.abc import Mapping


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """The page with its tables as the code has them now.

    Raises ValueError when the page has no place for one.
    """
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the page has no place for {name}")
        page = before + begin + table + end + after
    return page
