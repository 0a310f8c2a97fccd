"""`python -m scalelab.config FILE`: is a study file plain YAML? Asked before Snakemake reads it."""

import sys

from scalelab.config.reading import read_yaml
from scalelab.errors import UserError


def main() -> int:
    """Read the file; 2 with one sentence where it cannot be read or is more than data."""
    try:
        read_yaml(sys.argv[1])
    except UserError as error:
        print(f"scalelab: {error}", file=sys.stderr)
        return 2
    return 0


sys.exit(main())
