"""``--forecast``: how long a whole move is likely to take, from a sample of each table that is moved for real."""
