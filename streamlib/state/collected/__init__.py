"""What is no few words per key, beside the records of a pane: all values, sets of values, sketches."""
