"""Sessions copied page by page."""
