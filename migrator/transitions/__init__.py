"""What transitions of caches and of sessions share: phases and the metrics of the workers."""
