"""The manager's authority, who its callers are, and what each of them may do."""
