"""Models owned by somebody else: what a project brings along."""
