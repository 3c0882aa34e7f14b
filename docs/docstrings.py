"""The package's docstrings, which are Markdown, as the reStructuredText that Sphinx reads.

Of Markdown they use paragraphs, `code`, lists of dashes and indented blocks for formulas. Beside
that a line `name: text` describes an argument or a field, and goes on until the next such line, a
line that starts with "Raises" or the paragraph's end.
"""

from __future__ import annotations

import re

_NAME = r"(?:[a-z]\w*|[A-Z])"
_FIELD = re.compile(rf"(?P<names>{_NAME}(?:, {_NAME})*): ")
_ITEM = re.compile(r"- ")
_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"([\\*`|]|_(?!\w)|::$)")
"""What is markup in reStructuredText and a plain character in the docstrings."""


def restructured(lines: list[str]) -> list[str]:
    """Lines of a docstring, without common indentation, as lines of reStructuredText."""
    blocks = re.split(r"\n(?:[ \t]*\n)+", "\n".join(lines).strip("\n"))
    result: list[str] = []
    for block in filter(None, blocks):
        result += [*_block(block.split("\n")), ""]
    return result


def _block(lines: list[str]) -> list[str]:
    if all(line.startswith(" ") for line in lines):
        return ["::", "", *(f"    {line}" for line in lines)]
    parts: list[str] = []
    for line in lines:
        text = line.strip()
        starts = _ITEM.match(line) or _FIELD.match(line) or line.startswith("Raises ")
        if starts or not parts:
            parts.append(text)
        else:
            parts[-1] += " " + text
    result: list[str] = []
    in_list = False
    for part in parts:
        item = _as_item(part)
        if result and not (item and in_list):
            result.append("")
        in_list = item is not None
        result.append(item or _inline(part))
    return result


def _as_item(part: str) -> str | None:
    if match := _ITEM.match(part):
        return "- " + _inline(part[match.end() :])
    if match := _FIELD.match(part):
        names = ", ".join(f"``{name}``" for name in match["names"].split(", "))
        return f"- {names}: {_inline(part[match.end() :])}"
    return None


def _inline(text: str) -> str:
    """Backticks doubled; what else would be markup escaped."""
    result = ""
    for index, piece in enumerate(_CODE.split(text)):
        if index % 2 == 0:
            # A backslash and a space part code from a letter beside it, as in `name`s.
            parted = index > 0 and piece[:1].strip()
            result += ("\\ " if parted else "") + _SPECIAL.sub(r"\\\1", piece)
        else:
            parted = result[-1:].strip()
            result += ("\\ " if parted else "") + f"`{piece}`"
    return result
