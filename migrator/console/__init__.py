"""What people see and answer: progress, prompts, reports, signals, and the files a run writes for them."""
