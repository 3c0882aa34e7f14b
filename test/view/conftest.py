from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

# pytest's importlib mode has no package for helpers that tests share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def rerun() -> Any:
    """The viewer's library, which is no part of a plain installation."""
    return pytest.importorskip(
        "rerun", reason='rerun-sdk is not installed: pip install "flowface-ros[view]"'
    )


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What two cameras and what a tracker published, in two bags."""
    from view_world import write_bags

    return write_bags(tmp_path_factory.mktemp("bags"))
