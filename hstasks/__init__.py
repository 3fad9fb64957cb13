"""Images to masks, classes and values: the tasks on the engine."""
