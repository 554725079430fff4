"""Why foreign unicast reaches a tap.

What was observed (observation), the decision rules (rules), the remedies (remedies), and what joins them (explanation).
Pure functions over values: no kernel, no libvirt, no clock. nwscan.api.explaining collects what they are given.
"""
