from __future__ import annotations

import sys
from pathlib import Path

# pytest's importlib mode has no package for helpers that tests share.
sys.path.insert(0, str(Path(__file__).parent))
