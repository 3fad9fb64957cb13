"""The engine of all challenge projects: it trains, measures, predicts and compares, and knows no kind of sample."""

import os

# Before torch loads OpenMP: threads that wait by spinning starve each other where cores are shared,
# several times over; waiting asleep costs next to nothing where they are not.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
