"""Programs that search for unknown faults. They use the helpers of the tests, in a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
