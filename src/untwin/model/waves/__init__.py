"""W: how the wave travels from the object to the detector."""
