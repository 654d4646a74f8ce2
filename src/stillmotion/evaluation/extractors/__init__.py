"""Networks whose features the metrics compare, behind one interface: `interface.py`."""
