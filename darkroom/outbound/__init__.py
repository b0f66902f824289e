"""Requests to addresses that clients named: checked, pinned to what was checked, bounded."""
