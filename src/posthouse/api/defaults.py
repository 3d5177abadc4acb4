"""Who serves a call that names no model, as some APIs' clients never do.

The model that is publicly called by the operation's usual name, if there is one: so
an operator chooses. Else the first, by name, that was made for it.
"""

from collections.abc import Awaitable, Callable

from msgspec import structs

from posthouse.access.models import allows
from posthouse.access.principal import Principal
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.relay.call import Incoming
from posthouse.relay.service import Relay
from posthouse.wire import json

NULL = json.raw(None)

Complete = Callable[[Incoming], Awaitable[Incoming]]


def completing(relay: Relay, operation: Operation, usual: str) -> Complete:
    """Give what names the model of a call that names none.

    Args:
        relay: knows the models.
        operation: what is asked.
        usual: what the model is called whose operator has chosen one.
    """

    async def complete(incoming: Incoming) -> Incoming:
        request = incoming.request
        if request.envelope.get("model", NULL) != NULL:
            return incoming
        model = default_model(relay, incoming.principal, operation, usual)
        envelope = {**request.envelope, "model": json.raw(model)}
        named = structs.replace(request, model=model, envelope=envelope)
        return structs.replace(incoming, request=named)

    return complete


def default_model(
    relay: Relay, principal: Principal, operation: Operation, usual: str
) -> str:
    """Give the model that serves whoever names none; raises InvalidRequest."""
    names = relay.snapshot.made_for(operation, sandbox=principal.sandbox)
    listed = relay.snapshot.table.owner(usual, sandbox=principal.sandbox)
    for name in (usual, *names) if listed is not None else names:
        if principal.models is None or allows(principal, name):
            return name
    raise InvalidRequest(
        "The request names no model, and none was made for it: name one that chats",
        param="model",
        code="missing_model",
    )
