"""Keys are found wherever the great APIs' clients put them."""

from tests.support.cases import each

from posthouse.server.credentials import carries_key, presented_key


@each(
    ("fields", "query", "key"),
    [
        ({}, b"", None),
        ({b"authorization": b"Bearer sk-a"}, b"", "sk-a"),
        ({b"authorization": b"bearer sk-a"}, b"", "sk-a"),
        ({b"authorization": b"BEARER   sk-a"}, b"", "sk-a"),
        ({b"authorization": b"DeepL-Auth-Key sk-a"}, b"", "sk-a"),
        ({b"authorization": b"deepl-auth-key sk-a"}, b"", "sk-a"),
        ({b"authorization": b"DeepL-Auth-Key"}, b"", None),
        ({b"authorization": b"DeepL-Auth-Keysk-a"}, b"", None),
        ({b"authorization": b"sk-a"}, b"", None),
        ({b"authorization": b"Basic c2s6YQ=="}, b"", None),
        ({b"authorization": b"Bearer "}, b"", None),
        ({b"authorization": b"Bearer a b"}, b"", None),
        ({b"authorization": b"Bearer a, Bearer b"}, b"", None),
        ({b"authorization": b"Bearer \xc3\xa9"}, b"", None),
        ({b"authorization": b"Bearer " + b"a" * 2000}, b"", None),
        ({b"x-api-key": b"sk-a"}, b"", "sk-a"),
        ({b"api-key": b"sk-a"}, b"", "sk-a"),
        ({b"x-goog-api-key": b"sk-a"}, b"", "sk-a"),
        ({b"x-api-key": b""}, b"", None),
        ({}, b"key=sk-a", "sk-a"),
        ({}, b"alt=sse&key=sk%2Da", "sk-a"),
        ({}, b"monkey=sk-a", None),
        ({}, b"key=", None),
        ({}, b"key=%00", None),
        ({}, b"key=%ff", None),
        ({}, b"key=%C3%A9", None),
        ({b"authorization": b"Bearer one", b"x-api-key": b"two"}, b"key=3", "one"),
        ({b"x-api-key": b"two", b"api-key": b"three"}, b"key=3", "two"),
        ({b"api-key": b"three", b"x-goog-api-key": b"four"}, b"", "three"),
        ({b"x-goog-api-key": b"four"}, b"key=five", "four"),
        ({b"authorization": b"Basic x", b"x-api-key": b"two"}, b"", None),
    ],
)
def test_the_first_place_that_is_present_decides(fields, query, key) -> None:
    assert presented_key(fields, query) == key


@each(
    ("fields", "query", "carried"),
    [
        ({}, b"", False),
        ({b"cookie": b"a=b"}, b"monkey=1&q=key", False),
        ({b"authorization": b"Basic eA=="}, b"", True),
        ({b"x-api-key": b""}, b"", True),
        ({b"x-goog-api-key": b"k"}, b"", True),
        ({}, b"key=", True),
        ({}, b"a=b&key=k", True),
    ],
)
def test_a_place_that_is_present_is_one_whatever_it_holds(
    fields, query, carried
) -> None:
    """No other place is looked at then, where an API has one of its own."""
    assert carries_key(fields, query) is carried
