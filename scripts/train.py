"""The verb `train` as a plain script: python scripts/train.py --help."""

import sys

from snn_cace.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
