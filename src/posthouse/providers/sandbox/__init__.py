"""The sandbox: a provider inside Posthouse that needs no network and no account.

It answers chat, completions, embeddings, moderations, pictures, sound and whatever
else is asked as OpenAI's API does, and on demand misbehaves in every way a provider
can. Rules: a reply depends on the request's bytes alone, but for what callers keep
(`shelf`); nothing here reads a clock, a random number or a socket; what it counts and
charges for is what it says in `tokens`.
"""

from posthouse.providers.sandbox.dispatch import play
from posthouse.providers.sandbox.realtime import talk

__all__ = ["play", "talk"]
