"""Programs that search for unknown faults. They use helpers of the tests, so they need a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
