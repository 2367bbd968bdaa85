"""``--migrate``: Django's own migrations, applied to the destination and to nothing else."""
