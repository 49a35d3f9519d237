"""`python -m snn_cace` is `snn-cace`."""

import sys

from snn_cace.cli import main

sys.exit(main())
