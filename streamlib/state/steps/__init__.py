"""What functions of the user's keep of keys, and the loop over rows that is made of a function."""
