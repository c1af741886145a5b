"""Operations on the account itself."""

from __future__ import annotations

from klaviyo_simulator.documents import many, one, resource
from klaviyo_simulator.errors import JsonObject, not_found
from klaviyo_simulator.limits import XS
from klaviyo_simulator.query import QuerySpec
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.routing import Call, Operation, Reply


def account_resource(call: Call) -> JsonObject:
    account = call.account
    attributes: JsonObject = {
        "test_account": True,
        "contact_information": {
            "default_sender_name": account.name,
            "default_sender_email": "hello@example.com",
            "website_url": "https://shop.example.com",
            "organization_name": account.name,
            "street_address": {
                "address1": "1 Example Street",
                "address2": "",
                "city": "Boston",
                "region": "MA",
                "country": "United States",
                "zip": "02111",
            },
        },
        "industry": "Software / SaaS",
        "timezone": account.timezone,
        "preferred_currency": account.currency,
        "public_api_key": account.id,
        "locale": "en-US",
    }
    return resource(call, "account", account.id, attributes)


def get_accounts(call: Call) -> Reply:
    return many(call, [account_resource(call)])


def get_account(call: Call) -> Reply:
    if call.params["id"] != call.account.id:
        raise not_found(f"Account with id {call.params['id']} not found.")
    return one(call, account_resource(call))


_QUERY = QuerySpec(fields={"account": fieldnames.ACCOUNT})

OPERATIONS = [
    Operation(
        id="get_accounts",
        method="GET",
        path="/api/accounts",
        handler=get_accounts,
        limit=XS,
        scopes=("accounts:read",),
        query=_QUERY,
    ),
    Operation(
        id="get_account",
        method="GET",
        path="/api/accounts/{id}",
        handler=get_account,
        limit=XS,
        scopes=("accounts:read",),
        query=_QUERY,
    ),
]
