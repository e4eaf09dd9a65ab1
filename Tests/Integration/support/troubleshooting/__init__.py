"""docs/troubleshooting.md: what it quotes, and the cases that provoke it."""

from . import cluster, ends, handshakes, requests, start
from .quotes import CASES

__all__ = ["CASES", "cluster", "ends", "handshakes", "requests", "start"]
