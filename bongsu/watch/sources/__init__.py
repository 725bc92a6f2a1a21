"""Where messages come from: one file a kind of source, all with the same face."""
