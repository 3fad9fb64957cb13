"""What cameras see of a cube: colours, sensitivities, mosaics, sizes."""
