"""Parts of the reference that are written by the code that they describe."""
