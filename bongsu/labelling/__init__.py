"""Labels taken while an event happens: what to ask, learning from the answers, and how far to trust the result. No torch."""
