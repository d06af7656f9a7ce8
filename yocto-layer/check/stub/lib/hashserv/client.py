"""Stands in for the module of the same name in BitBake."""
