"""`python -m scalelab VERB ...`."""

import sys

from scalelab.cli import main

sys.exit(main())
