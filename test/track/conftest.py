from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head

# pytest's importlib mode has no package for helpers that tests share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def model() -> HeadModel:
    return load_builtin_head()
