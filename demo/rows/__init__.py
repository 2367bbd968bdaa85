"""What is in the shop's tables, row by row: always the same, whatever the day or the machine."""
