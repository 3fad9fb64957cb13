"""The page on which a person understands a result: one HTML file that opens from disk, without network."""
