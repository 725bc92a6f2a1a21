"""Search over settings: the study file, which points fit the device, trials on Ray Tune, and the report."""
