"""What breaks while a cache changes."""
