"""Models that reconstruct hyperspectral cubes, and how well they do."""
