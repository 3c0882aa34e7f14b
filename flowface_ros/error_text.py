"""What a program tells of an error that the user can mend."""

from __future__ import annotations


def error_text(error: BaseException) -> str:
    """Its text, without the number that Python puts before an OSError's."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
