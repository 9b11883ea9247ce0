"""Figures that anyone can make again: `make bench`."""
