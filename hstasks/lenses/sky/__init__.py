"""What the made-up sky of the sample consists of: light, lensing, noise."""
