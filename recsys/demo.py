"""``recsys demo`` after training: a real server, asked over HTTP like any front end would."""

from __future__ import annotations
