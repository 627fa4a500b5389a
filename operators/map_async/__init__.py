"""`map_async`: `async` functions called for many rows at a time, on an event loop beside each worker."""
