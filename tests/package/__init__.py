"""The wheel and the source distribution, built and checked, and the wheel in use. `make package` runs this program."""
