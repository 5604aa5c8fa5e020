"""Offline jobs: from an event log to a published release."""
