"""Which settings are best: a search's file, what of it fits the device, its trials on Ray Tune, and the page that tells."""
