"""Made-up scenes: materials, and how they are laid out and lit."""
