"""Run the command line: `python -m vlmrl`."""

from __future__ import annotations

import sys

from vlmrl.cli import main

sys.exit(main())
