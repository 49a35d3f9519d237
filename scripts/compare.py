"""The verb `compare` as a plain script: python scripts/compare.py --help."""

import sys

from snn_cace.cli import main

sys.exit(main(["compare", *sys.argv[1:]]))
