"""Policies as C: time here, instructions on microcontrollers: `python -m bench.c_export`."""
