"""Two threads, as on the smallest machine the suite is meant for: also what makes its numbers repeat."""

import torch

torch.set_num_threads(2)
