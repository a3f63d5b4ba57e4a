"""Programs that look for what nobody thought of. They stand on the helpers of the tests, in a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
