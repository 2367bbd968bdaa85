"""One store copied to another, page by page: the keys of a cache as raw values, sessions converted."""
