"""Live watch: messages come in, the detector reads them, and bursts of alike messages become alerts.

    sources → bounded queue → detector → events (bins, near-duplicates, burst test) → store → sinks

Time is the messages' own: a replayed file gives the same alerts at any speed.
"""
