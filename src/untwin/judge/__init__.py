"""Whether to believe it: functions of arrays and tensors; nothing here iterates."""
