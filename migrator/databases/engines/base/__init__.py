"""What every engine answers. One engine's answers live in the package of its name, in files of the same names."""
