"""What can go wrong while data is moved, each fault provoked for real, and what is promised then."""
