"""Trains each experiment of the files given, into the directory given first; torchrun starts several of it. The last
file's is then trained once more, into `broken`, in two halves.

Without dropout of any kind: processes draw for themselves, so what is compared must draw nothing.
"""

import sys
from pathlib import Path

from neurons import Dropout
from snn_cace.config import Experiment, read_config
from snn_cace.training.run import train

if __name__ == "__main__":
    Dropout.forward = lambda self, values: values
    output, *configs = map(Path, sys.argv[1:])
    for config in configs:
        train(read_config(config, Experiment), output / config.stem, quiet=True)
    last = read_config(configs[-1], Experiment)
    train(last, output / "broken", quiet=True, until=last.training.epochs // 2)
    train(last, output / "broken", quiet=True, resume=True)
