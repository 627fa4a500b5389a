"""Running a plan: workers that drive stacks of steps, the channels between them, the pool of splits."""
