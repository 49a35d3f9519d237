"""The verb `spikes` as a plain script: python scripts/spike_rates.py --help."""

import sys

from snn_cace.cli import main

sys.exit(main(["spikes", *sys.argv[1:]]))
