"""Session engines as projects write them."""
