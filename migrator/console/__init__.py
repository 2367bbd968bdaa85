"""The user interface of commands: options, progress, prompts, reports, signals, and the files a run writes."""
