"""Reads and writes the traces of other programs, a folder for each format: for import and export."""
