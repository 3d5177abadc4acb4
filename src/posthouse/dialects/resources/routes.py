"""What a route costs, and what it makes: by method and template.

Reading and deleting is free, and so is storing what the provider stores for nothing.
What is paid by tokens is told by the usage in its answer. Everything else cannot be
priced here: work that goes on after the answer, and storage by the day.
"""

from enum import Enum

from posthouse.dialects.resources.paths import ResourcePath
from posthouse.dialects.resources.words import listed


class Cost(Enum):
    """What a route costs."""

    FREE = "free"
    BY_USAGE = "by_usage"
    """What the usage in its answer says."""
    UNPRICED = "unpriced"
    """Nobody can tell when it is asked."""


_READING = frozenset({"GET", "HEAD", "DELETE"})
_FREE = listed(
    """
    /agents /agents/{} /agents/automations/{} /agents/sessions/{} /assistants
    /assistants/{} /audio/voice_consents /audio/voice_consents/{} /batches/{}
    /chat/completions/{} /conversations /conversations/{} /conversations/{}/items
    /evals /evals/{} /files /memory_stores /memory_stores/{} /memory_stores/{}/memories
    /memory_stores/{}/memories/{} /responses/input_tokens /sessions/{}
    /sessions/{}/resources/{} /skills /skills/{} /skills/{}/versions /threads
    /threads/{} /threads/{}/messages /threads/{}/messages/{} /threads/{}/runs/{}
    /uploads /uploads/{}/parts /user_profiles /user_profiles/{} /vaults /vaults/{}
    /vaults/{}/credentials /vaults/{}/credentials/{} /vector_stores/{}
    /vector_stores/{}/files/{} /webhook_endpoints /webhook_endpoints/{}
    """
)
_FREE_ENDS = frozenset(
    {
        "ack",
        "archive",
        "cancel",
        "complete",
        "hangup",
        "heartbeat",
        "pause",
        "redact",
        "reject",
        "stop",
        "validate",
    }
)
_BY_USAGE = frozenset({"/responses/compact"})


def cost_of(method: str, path: ResourcePath) -> Cost:
    """Tell what a route costs; one that is not known has no price."""
    if method in _READING:
        return Cost.FREE
    if path.template in _BY_USAGE:
        return Cost.BY_USAGE
    if path.template in _FREE or path.last in _FREE_ENDS:
        return Cost.FREE
    return Cost.UNPRICED


LISTS = listed(
    """
    /agents /agents/automations /agents/environments /agents/environments/templates
    /agents/sessions /assistants /audio/voice_consents /batches /chat/completions
    /chatkit/threads /containers /deployment_runs /deployments /dreams /environments
    /evals /files /fine_tuning/jobs /memory_stores /messages/batches /sessions /skills
    /tunnels /user_profiles /vaults /vector_stores /videos
    """
)
"""Lists of all that an account has, each of whose entries is found below it."""

BEGINNINGS = LISTS | listed(
    """
    /audio/voices /chatkit/sessions /content_provenance_checks /conversations
    /decisions /fine_tuning/alpha/graders/run /fine_tuning/alpha/graders/validate
    /live/sessions /realtime/calls /realtime/client_secrets /realtime/sessions
    /realtime/transcription_sessions /realtime/translations/client_secrets
    /responses/compact /responses/input_tokens /threads /threads/runs /uploads
    /videos/characters /videos/edits /videos/extensions
    """
)
"""What can be posted to without naming a thing in the path."""

_HOLDERS = BEGINNINGS | listed("/fine_tuning/checkpoints /models /responses")
"""What stands before the first thing that a path names."""


def is_known(path: ResourcePath) -> bool:
    """Whether a path leads anywhere in these APIs, as far as that is known."""
    if not path.names_things:
        return path.template in BEGINNINGS
    return path.template.partition("/{}")[0] in _HOLDERS


_MADE_FOR = {
    "/videos/{}/remix": "/videos",
    "/videos/edits": "/videos",
    "/videos/extensions": "/videos",
    "/deployments/{}/run": "/deployment_runs",
}
"""Routes whose answer is an entry of another list than the one that they name."""

_KINDS = {
    "file_id": "/files",
    "input_file_id": "/files",
    "output_file_id": "/files",
    "error_file_id": "/files",
    "result_files": "/files",
    "container_id": "/containers",
    "vector_store_id": "/vector_stores",
    "message_batch_id": "/messages/batches",
}
"""In which list the thing is to be found that a member names."""


def made_by(method: str, path: ResourcePath) -> str:
    """The list in which the thing stands that a route has made; "" for none."""
    if method != "POST":
        return ""
    if path.template in LISTS:
        return path.template
    return _MADE_FOR.get(path.template, "")


def kind_of_member(name: str) -> str:
    """The list in which the thing stands whose id a member holds; "" for none."""
    return _KINDS.get(name, "")
