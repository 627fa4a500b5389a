"""Looking at a run: the report when it has ended, the progress line while it goes on."""
