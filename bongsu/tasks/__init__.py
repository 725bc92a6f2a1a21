"""Kinds of tasks, one file each. `task.py` says what a kind is and lists them."""
