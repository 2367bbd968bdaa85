"""What every engine answers. An engine's own answers are in the package of its name, in files of the same names."""
