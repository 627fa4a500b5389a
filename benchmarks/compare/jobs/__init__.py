"""One job a file: its input, and what each engine is asked for. `job.Job` is the contract."""
