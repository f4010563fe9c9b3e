"""Make it: objects and detectors, each sample a function of its seed."""
