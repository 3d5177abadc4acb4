"""The words that paths of these APIs are made of; everything else in one is an id.

Source: the path templates of openai 3.51 and anthropic 2.8 (2026-11), which a test
holds this to, and both APIs' references.
"""


def listed(text: str) -> frozenset[str]:
    """Give the words of a text."""
    return frozenset(text.split())


FIRST = listed(
    """
    agents assistants audio batches chat chatkit completions containers
    content_provenance_checks conversations decisions deployment_runs deployments
    dreams embeddings environments evals files fine_tuning images live memory_stores
    messages models moderations realtime responses safety sessions skills threads
    tunnels uploads user_profiles vaults vector_stores videos webhook_endpoints
    webhook_event_types
    """
)
"""With what a path may begin, behind the version."""

WORDS = FIRST | listed(
    """
    accept ack action_urls alerts alpha archive artifacts automations calls cancel
    cases certificates characters checkpoints client_secrets compact complete content
    count_tokens credentials edits enrollment_url events extensions file_batches fork
    generations graders hangup heartbeat input_items input_tokens invocations items
    jobs mcp_oauth_validate memories memory_versions output_items parts pause
    permissions poll redact refer reject remix resources results resume reveal_token
    rotate_secret rotate_token run runs search speech stats steps stop stream
    subagents submit_tool_outputs templates test traces transcription_sessions
    transcriptions translations turns unpause validate variations versions
    voice_consents voices work
    """
)

PUBLIC = frozenset({"pptx", "xlsx", "docx", "pdf"})
"""Ids that are everybody's: skills that Anthropic offers."""

NUMBERED = frozenset({"versions"})
"""What follows these words numbers a version of what stands before."""

ADMINISTRATION = frozenset(
    {
        "organization",
        "organizations",
        "projects",
        "dashboard",
        "usage",
        "admin",
        "api_keys",
        "workspaces",
        "oauth",
        "billing",
    }
)
"""With these a path begins that manages the account; none is ever relayed."""

WHOLE_ACCOUNT = frozenset({"webhook_endpoints", "webhook_event_types", "safety"})
"""With these a path begins that concerns everything on the account: only relayed
where all of it is shared."""

CONTENT = frozenset({"content", "results"})
"""A path that ends with these gives what somebody has stored: nothing in it is told
by the provider."""
