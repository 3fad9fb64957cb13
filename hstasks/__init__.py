"""Images to masks, classes and values: the rooms that all image tasks share, and each task's own."""
