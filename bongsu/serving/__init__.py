"""The model at work, without torch: loading a bundle, answering HTTP, watching a stream."""
