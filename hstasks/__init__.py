"""Challenges of images: to masks, to classes, to values. What they share stands here, what is particular below."""
