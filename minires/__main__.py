"""Run the command line: ``python -m minires`` does the same as ``minires``."""

import sys

from minires.cli import main

sys.exit(main())
