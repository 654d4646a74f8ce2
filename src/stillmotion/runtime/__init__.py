"""The machine: files, seeds, devices and progress."""
