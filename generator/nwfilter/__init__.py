"""The nwfilter language: its values, its attribute table, its XML, its lint."""
