"""docs/troubleshooting.md: what it quotes, and the cases that provoke it."""

from . import ends, handshakes, requests, start
from .quotes import CASES

__all__ = ["CASES", "ends", "handshakes", "requests", "start"]
