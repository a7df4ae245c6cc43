"""Learns: how good, how leaky and how pushy a policy is; tunes it, reports, promotes."""
