"""Functions of the user's that keep a state for each key: by row (`scan`, `fold`) and by batch (`stateful_batch`)."""
