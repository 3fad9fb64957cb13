"""Synthetic samples: which pairs are mixed, and how."""
