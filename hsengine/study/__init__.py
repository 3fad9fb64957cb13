"""Studies: one short file that stands for many DVC experiments, and the table of what they found."""
