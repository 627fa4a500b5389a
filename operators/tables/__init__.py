"""Tables: one current row per key. Running aggregates, the latest row, their changes and their states over time."""
