"""Rows that joins keep, found by key and time."""
