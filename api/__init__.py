"""The HTTP service: requests in, lists out, and nothing learned here."""
