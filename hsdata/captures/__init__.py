"""Captures of other sensors: in, out, calibrated, described, with where they come from."""
